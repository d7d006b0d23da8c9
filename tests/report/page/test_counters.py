"""Counters of recorded candidates on a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sample_records import speed_record

from pytest_kgate import cli
from pytest_kgate.report.page import counters
from pytest_kgate.report.page import markdown

ROOT = Path(__file__).parents[3]


def arm(**metrics: float) -> Any:
    facts = {name: {"value": value, "unit": "", "raw": name} for name, value in metrics.items()}
    return {"launches": [], "launch_count": 2, "metrics": facts}


def test_candidates_stand_by_their_problem_with_the_reference_behind_them() -> None:
    first, second, other, bare = (speed_record(ratio=ratio) for ratio in (0.5, 0.6, 0.7, 0.8))
    other["problem"] = {**other["problem"], "name": "sdpa 2x8x2048x64 float16"}
    for record in (first, other, second):
        bytes_moved = 1.5 * record["problem"]["bytes"]
        candidate = arm(tensor=12.34, sm=40.0, dram_bytes=bytes_moved, registers=243.0)
        record["counters"] = {"candidate": candidate, "reference": arm(tensor=6.4)}
    second["insights"] = [{"name": name} for name in ("small-grid", "latency-bound", "spills", "power-limited")]
    _, _, *rows = counters.table([first, other, second, bare]).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row.startswith("|")]
    assert [row[1] for row in cells] == ["wmma", "wmma", "sdpa cudnn (reference)", "wmma", "sdpa cudnn (reference)"]
    assert cells[0][2:10] == ["0.500", "2", "12.3", "40.0", "", "1.50", "243", ""]
    assert cells[1][-1] == "small-grid, latency-bound, spills"
    assert cells[2][2:6] == ["", "2", "6.4", ""]
    assert cells[3][0] == "sdpa 2x8x2048x64 float16"


def test_records_without_counters_say_how_to_get_some() -> None:
    assert "--kgate-profile" in counters.table([speed_record()])


def test_the_page_shows_what_the_committed_records_say(capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT / "benchmarks" / "h200" / "profile-2026-11-28.json"
    assert cli.main(["report", "--format=counters", str(path)]) == 0
    content = (ROOT / "docs" / "profiling.md").read_text(encoding="utf-8")
    assert markdown.update_block(content, "counters", capsys.readouterr().out) == content
