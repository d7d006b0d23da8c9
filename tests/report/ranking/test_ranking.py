"""Records in the order of what is proven of their speed, and what a reader is told beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sample_records import against_record
from sample_records import error_record
from sample_records import invalid_record
from sample_records import speed_record
from sample_records import wrong_record

from pytest_kgate import cli
from pytest_kgate.report.ranking.ranking import Table
from pytest_kgate.report.ranking.ranking import tables_of
from pytest_kgate.report.ranking.score import WEIGHTS
from pytest_kgate.report.ranking.table import lines_of
from pytest_kgate.report.ranking.variants import variants_of
from pytest_kgate.report.record.document import document
from pytest_kgate.report.record.document import load
from pytest_kgate.statistics.gates import SpeedGate


def raced(name: str, ratio: float, *, problem: str = "sdpa 1x8x512x64 float16", **changes: Any) -> Any:
    """A record of this candidate, raced on this problem."""
    record = speed_record(f"tests/test_it.py::test_{name}[{problem}]", ratio=ratio, **changes)
    record["candidate"] |= {"name": name, "implementation": None, "knobs": {}, "source_hash": f"{name}-source"}
    record["problem"]["name"] = problem
    return record


def with_counters(record: Any, **metrics: float) -> Any:
    facts = {name: {"value": value, "unit": "%", "raw": name} for name, value in metrics.items()}
    words = dict.fromkeys(("reason", "tool", "replay", "cache_control", "clock_control"), "")
    record["counters"] = {**words, "state": "measured", "seconds": 3.0, "sections": [], "report": None}
    record["counters"]["candidate"] = {"launches": [], "launch_count": 1, "metrics": facts}
    record["counters"]["reference"] = None
    return record


def shown(table: Table) -> list[tuple[str, str]]:
    return [(place.text, place.variant.name) for place in table.places]


def test_order_is_by_verdict_then_by_what_is_proven_of_the_speedup() -> None:
    slow = raced("slow", 1.3)
    records = [slow, raced("good", 0.61), raced("best", 0.4), wrong_record(), error_record(), invalid_record()]
    for number, one in enumerate(records[3:]):
        one["candidate"]["name"] = ("wrong", "error", "invalid")[number]
    (table,) = tables_of(records)
    assert slow["verdict"] == "FAIL"
    assert shown(table)[:3] == [("1", "best"), ("2", "good"), ("3", "slow")]
    assert shown(table)[3:] == [("-", "invalid"), ("-", "wrong"), ("-", "error")]


def test_who_cannot_be_told_apart_shares_places_and_stands_by_resources() -> None:
    records = [raced("many", 0.600, noise=0.02), raced("few", 0.603, noise=0.02), raced("best", 0.3)]
    records[1]["candidate"]["resources"][0]["registers"] = 96
    (table,) = tables_of(records)
    assert shown(table) == [("1", "best"), ("2-3", "few"), ("2-3", "many")]


def test_a_gate_that_is_strict_does_not_put_a_faster_kernel_before_one_that_passed() -> None:
    strict = raced("strict", 0.5, bounds=(SpeedGate(0.4),))
    (table,) = tables_of([strict, raced("lenient", 0.7)])
    assert shown(table) == [("1", "lenient"), ("2", "strict")]


def test_devices_problems_references_and_timers_are_never_mixed() -> None:
    records = [raced("a", 0.5) for _ in range(5)]
    records[1]["environment"]["gpu"] = {"name": "NVIDIA H100"}
    records[2]["problem"]["name"] = "sdpa 2x8x2048x64 float16"
    records[3]["reference"]["backend"] = "flash"
    records[4]["timing"]["cache"] = "cold"
    tables = tables_of(records)
    assert [len(table.places) for table in tables] == [1] * 5
    assert len({str(table.conditions) for table in tables}) == 5


def test_several_problems_have_a_table_of_the_geometric_mean() -> None:
    long = "sdpa 2x8x2048x64 float16"
    records = [raced("a", 0.5), raced("b", 0.4), raced("a", 0.3, problem=long), raced("b", 0.45, problem=long)]
    first, second, mean = tables_of([*records, raced("only_here", 0.2)])
    assert [name for _, name in shown(first)] == ["only_here", "b", "a"]
    assert [name for _, name in shown(second)] == ["a", "b"]
    assert "geometric mean over 2 tables" in str(mean.conditions)
    assert [name for _, name in shown(mean)] == ["a", "b"]
    assert mean.remarks == ("Left out, as not ranked in each of the 2 tables: only_here.",)


def test_the_latest_record_of_a_candidate_counts_and_two_sources_of_one_name_are_two() -> None:
    older, latest, other = raced("a", 0.9), raced("a", 0.5), raced("a", 0.7)
    latest["started"] = "2026-02-02T03:04:05+00:00"
    other["candidate"]["source_hash"] = "feedbeef00"
    (table,) = tables_of([older, latest, other])
    assert shown(table) == [("1", "a@a-sourc"), ("2", "a@feedbee")]
    assert table.remarks[0] == "Of a@a-sourc there are 2 records; the latest counts."


def test_race_against_another_revision_takes_no_place() -> None:
    (table,) = tables_of([raced("a", 0.5), against_record(ratio=0.4), against_record(ratio=1.1)])
    assert shown(table) == [("1", "a")]
    assert tables_of([against_record()]) == []


def test_the_score_says_of_what_it_is_made() -> None:
    bare, counted = raced("bare", 0.5), with_counters(raced("counted", 0.5), tensor=40.0, sm=60.0, registers=130.0)
    (table,) = tables_of([bare, counted])
    scores = {place.variant.name: place.score for place in table.places}
    assert scores["counted"].points == pytest.approx(2000 + 2 * 40 + 60 - 2, rel=0.01)
    assert scores["counted"].parts[:3] == ("speedup", "tensor %", "SM %")
    assert any(one.startswith("The score of bare is made without what was not") for one in table.remarks)
    assert "Scores that are not made of the same parts don't compare." in table.remarks
    assert all(weight.reason for weight in WEIGHTS)


def test_registers_are_those_that_were_launched_where_a_limit_knows_them() -> None:
    record = raced("a", 0.5)
    assert variants_of([record])[0].registers == 128
    record["limits"] = [{"kind": "resources", "name": "registers", "value": 96.0}]
    assert variants_of([record])[0].registers == 96


def test_by_score_says_where_it_turns_proven_speedups_round() -> None:
    fast = raced("fast", 0.50)
    fast["candidate"]["resources"][0]["spill_bytes"] = 200
    records = [fast, raced("tidy", 0.52)]
    assert [name for _, name in shown(tables_of(records)[0])] == ["fast", "tidy"]
    (table,) = tables_of(records, by="score")
    assert [name for _, name in shown(table)] == ["tidy", "fast"]
    assert "The score puts tidy before fast, which is proven to be faster." in table.remarks


def test_the_verb_prints_a_table_json_and_a_block_of_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, page = tmp_path / "records.json", tmp_path / "page.md"
    records = [with_counters(raced("a", 0.5), tensor=12.5), raced("b", 0.4), raced("[red]", 1.2)]
    file.write_text(json.dumps(document(records)))
    assert cli.main(["rank", str(file), "--width", "100"]) == 0
    printed = capsys.readouterr().out
    assert "sdpa 1x8x512x64 float16, against sdpa cudnn, NVIDIA H200, graph timer, hot cache" in printed
    assert "[red]" in printed
    assert "can't be told apart at 95 %" in " ".join(printed.split())
    assert cli.main(["rank", str(file), "--format", "json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert [one["candidate"] for one in table["candidates"]] == ["b", "a", "[red]"]
    assert table["candidates"][1]["tensor_percent"] == 12.5
    page.write_text("<!-- kgate:rank -->\n<!-- /kgate -->\n")
    assert cli.main(["rank", str(file), "--into", str(page), "--block", "rank"]) == 0
    assert "| 1 | b | PASS | 2.5" in page.read_text()


def test_a_file_without_records_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "records.json").write_text(json.dumps(document([])))
    assert cli.main(["rank", str(tmp_path / "records.json")]) == 0
    assert capsys.readouterr().out == "No records.\n"


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_table_fits_the_terminal_and_says_what_it_leaves_out(width: int) -> None:
    path = Path(__file__).parents[3] / "benchmarks" / "h100" / "profile-2026-11-27.json"
    lines = lines_of(tables_of(load(path), "speedup"), width, color=False)
    assert max(map(len, lines)) <= width
    head = next(line.split() for line in lines if line.startswith("place"))
    assert head[:3] == ["place", "candidate", "verdict"]
    assert head[-1] == "score"
    left_out = [line for line in lines if line.startswith("Left out for want of room: ")]
    assert bool(left_out) == (width < 120)
    assert ("barriers" in head) == (width == 120)
