"""One row for each implementation, made from records; what the pages show is what the command makes."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from sample_records import against_record
from sample_records import speed_record

from pytest_kgate import cli
from pytest_kgate.report.page import ladder
from pytest_kgate.report.page import markdown

ROOT = Path(__file__).parents[3]
WMMA = ladder.Rung("wmma", "Through fragments.", "ready")
HOPPER = ladder.Rung("hopper", "Through wgmma.", "planned")


def measured(
    started="2026-01-02", causal=False, ratio=None, knobs=None, shape=(1, 8, 512, 64), cache="hot", named=None
):
    found = copy.deepcopy(speed_record())
    found["started"] = started
    found["candidate"] |= {"implementation": "wmma", "knobs": knobs or {}}
    found["problem"] |= {"shape": list(shape), "causal": causal}
    found["timing"]["cache"] = cache
    if named is not None:
        found["reference"] |= {"backend": named, "choices": {}}
    if ratio is not None:
        found["gates"][0]["ratio"] |= {"estimate": ratio, "low": ratio - 0.01, "high": ratio + 0.01}
    return found


def cells(records, *rungs):
    """The text of each row's cells; of all columns but the idea."""
    lines = ladder.table(records, rungs).splitlines()[2 : 2 + len(rungs)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [[row[0], *row[2:]] for row in rows]


def test_each_implementation_has_a_row_with_both_ratios() -> None:
    records = [measured(ratio=0.612), measured(causal=True, ratio=0.7)]
    (row, planned) = cells(records, WMMA, HOPPER)
    assert row[0] == "wmma"
    assert row[3:] == ["0.612", "0.700", "0.95", "PASS"]
    assert planned == ["hopper", "", "", "", "", "", "planned"]
    html = MarkdownIt().enable("table").render(ladder.table(records, [WMMA, HOPPER]))
    assert "<td>Through fragments.</td>" in html
    assert "NVIDIA H200" in html


@pytest.mark.parametrize(
    "other", [{"knobs": {"BLOCK_M": 32}}, {"shape": (2, 8, 2048, 64)}, {"cache": "cold"}, {"started": "2025-12-31"}]
)
def test_other_builds_problems_caches_and_older_records_do_not_count(other) -> None:
    assert cells([measured(ratio=0.612), measured(**other, ratio=0.111)], WMMA)[0][3] == "0.612"
    if "started" not in other:
        assert cells([measured(**other, ratio=0.111)], WMMA) == [["wmma", "", "", "", "", "", "not measured"]]


def test_race_against_another_revision_is_not_of_the_ladder() -> None:
    against = measured(ratio=0.111)
    against["against"] = against_record()["against"]
    assert cells([against], WMMA) == [["wmma", "", "", "", "", "", "not measured"]]


def test_race_against_the_fastest_reference_counts_before_a_later_one_against_a_named_one() -> None:
    fastest = [measured(ratio=0.889), measured(causal=True, ratio=0.895)]
    named = [
        measured("2026-01-03", ratio=0.798, named="flash"),
        measured("2026-01-03", causal=True, ratio=0.806, named="flash"),
    ]
    assert cells(fastest + named, WMMA)[0][2:5] == ["sdpa cudnn", "0.889", "0.895"]
    assert cells(named, WMMA)[0][2:5] == ["sdpa flash (named)", "0.798", "0.806"]


def test_references_that_differ_are_both_told() -> None:
    records = [measured(), measured(causal=True, named="flash")]
    assert cells(records, WMMA)[0][2] == "sdpa cudnn, sdpa flash (named)"


def test_verdicts_that_differ_are_both_told() -> None:
    failed = measured(causal=True)
    failed["verdict"] = failed["gates"][0]["verdict"] = "FAIL"
    assert cells([measured(), failed], WMMA)[0][-1] == "PASS, FAIL"


def test_counters_have_columns_and_a_race_beside_them_counts_only_where_there_is_no_other() -> None:
    counted = measured("2026-01-04", ratio=0.5)
    metrics = {"tensor": 9.63, "sm": 28.0, "dram_bytes": counted["problem"]["bytes"] / 4, "registers": 244.0}
    counted["counters"] = {"candidate": {"metrics": {name: {"value": value} for name, value in metrics.items()}}}
    (row, planned) = cells([measured(ratio=0.612), counted], WMMA, HOPPER)
    assert row[3] == "0.612"
    assert row[-4:] == ["9.6 %", "28.0 %", "0.25x", "244"]
    assert planned[-5:] == ["planned", "", "", "", ""]
    assert cells([counted], WMMA)[0][3] == "0.500"


def test_no_records_leave_only_the_ideas() -> None:
    assert ladder.table([], [HOPPER]).endswith("| planned |\n")


@pytest.mark.parametrize(
    ("page", "block", "format"), [("docs/measured.md", "h200", "markdown"), ("csrc/README.md", "ladder", "ladder")]
)
def test_page_shows_what_the_committed_records_say(page, block, format, capsys) -> None:
    paths = sorted((ROOT / "benchmarks" / "h200" / "one-state-2026-11-28").glob("perf*.json"))
    if format == "ladder":
        paths.append(ROOT / "benchmarks" / "h200" / "profile-2026-11-28.json")
    assert cli.main(["report", f"--format={format}", *map(str, paths)]) == 0
    content = (ROOT / page).read_text(encoding="utf-8")
    assert markdown.update_block(content, block, capsys.readouterr().out) == content
