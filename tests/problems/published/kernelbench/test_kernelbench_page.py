"""The tables of docs/kernelbench.md: made of the committed facts, and counting what they say."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
FACTS = [
    path
    for place in ("h200", "h100", "host")
    for path in sorted((ROOT / "benchmarks" / place).glob("kernelbench-*.jsonl"))
]
"""Oldest first."""


@pytest.fixture(scope="module")
def scripts():
    """The modules kept and table of benchmarks/kernelbench, which import each other as scripts do."""
    names = ("kept", "table", "trial")
    sys.path.insert(0, str(ROOT / "benchmarks" / "kernelbench"))
    try:
        yield importlib.import_module("kept"), importlib.import_module("table")
    finally:
        sys.path.pop(0)
        for name in names:
            sys.modules.pop(name, None)


def line(problem, part, outcome, **facts):
    given = {"problem": problem, "part": part, "scale": 0, "outcome": outcome, "reason": f"{outcome} for a reason"}
    return {**given, "seconds": 2.0, "peak_bytes": 2**30, "gpu": "GPU", "sizes": {}, **facts}


def copy(problem, high="PASS", low="FAIL", **facts):
    ratio = {"low": 0.98765432, "estimate": 1.0, "high": 1.01, "confidence": 0.95, "method": "blocks-t"}
    file = {"file": "x.py", "sha256": "12ab"}
    return line(
        problem, "copy", low, gates={"1.05": high, "0.95": low}, ratio=ratio, kernelbench=file, weak=[], **facts
    )


LINES = (
    copy("level1/2_Second", seconds=7.5, peak_bytes=3 * 2**30),
    {**copy("level1/10_Tenth", high="INCONCLUSIVE"), "weak": ["every row one late"]},
    {**copy("level2/1_Weak"), "weak": ["zeros"], "kernelbench": {"exact": "float32 without TF32", "sha256": "34cd"}},
    line("level2/66_Random", "copy", "ERROR", reason="The model's answer changes from call to call. Use another."),
    {"problem": "level3/1_Gone", "part": "copy", "scale": 0, "outcome": "DIED", "reason": "no answer in time"},
    line("level1/2_Second", "weight", "WRONG", peak_bytes=90 * 2**30),
    line("level1/10_Tenth", "weight", "FAIL"),
    line("level2/1_Weak", "weight", "HARMLESS"),
    line("level1/2_Second", "activation", "NONE", reason="it has no activation"),
    line("level1/10_Tenth", "activation", "TRACEBACK", reason="RuntimeError: in /root/here/file.py line 3"),
    line("level1/2_Second", "compile", "PASS", gates={"1.05": "PASS", "0.95": "PASS"}, ratio=copy("")["ratio"]),
)


def kept_file(scripts, folder, lines):
    kept, _ = scripts
    sweep, path = folder / "sweep.jsonl", folder / "kept.jsonl"
    sweep.write_text("".join(json.dumps(one) + "\n" for one in lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["kept.py", str(sweep), f"--json={path}"])
        kept.main()
    return path


def test_tables_of_the_page_are_made_from_the_committed_facts(scripts):
    _, table = scripts
    page = (ROOT / "docs" / "kernelbench.md").read_text(encoding="utf-8")
    assert len(FACTS) == len(list((ROOT / "benchmarks").glob("*/kernelbench-*.jsonl")))
    tables = table.tables_of(table.read(FACTS), table.together(FACTS)).strip()
    assert f"<!-- kgate:kernelbench -->\n{tables}\n<!-- /kgate -->" in page


@pytest.mark.parametrize("path", FACTS, ids=lambda path: path.parent.name)
def test_committed_facts_are_sorted_and_name_no_folder_of_a_machine(scripts, path):
    kept, _ = scripts
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.dumps(one) for one in kept.latest(map(json.loads, lines))] == lines
    assert not [one["reason"] for one in map(json.loads, lines) if "/" in one.get("reason", "")]


def test_counts_leave_out_what_has_nothing_to_find(scripts, tmp_path):
    _, table = scripts
    told = table.summary(table.read([kept_file(scripts, tmp_path, LINES)]))
    assert told == [
        ("problems", "5"),
        ("refused, since the answer is random", "1"),
        ("exact answer in float32, not float64", "1"),
        ("the check is WEAK: no work would pass", "1"),
        ("the check warns of a wrong answer that would pass", "1"),
        ("copy: PASS at 1.05 and FAIL at 0.95", "2 of 4 (50.0 %)"),
        ("... where the check is not WEAK", "1 of 3 (33.3 %)"),
        ("wrong weight: WRONG", "1 of 2 (50.0 %)"),
        ("... where the check is not WEAK", "1 of 2 (50.0 %)"),
        ("skipped activation: WRONG", "0 of 1 (0.0 %)"),
        ("... where the check is not WEAK", "0 of 1 (0.0 %)"),
        ("torch.compile at 0.95", "1: 1 PASS"),
        ("slowest copy", "7.5 s"),
        ("slowest trial, torch.compile aside", "7.5 s"),
        ("largest peak of a copy", "3.0 GiB"),
        ("largest peak of a trial", "90.0 GiB"),
        ("trials that were run again", "0"),
    ]


def test_row_of_a_problem_and_what_needs_a_word(scripts, tmp_path):
    _, table = scripts
    shown = table.tables_of(table.read([kept_file(scripts, tmp_path, LINES)])).splitlines()
    rows = [one for one in shown if one.startswith("| `")]
    assert rows == [
        "| `level1/2_Second` | PASS | FAIL | [0.988, 1.010] | WRONG | none | PASS 1.000 | 3.0 | 7.5 |",
        "| `level1/10_Tenth` | **INCONCLUSIVE** | FAIL | [0.988, 1.010] | **FAIL** | **TRACEBACK** |  | 1.0 | 2.0 |",
        "| `level2/1_Weak` | PASS | FAIL | [0.988, 1.010] | harmless |  |  | 1.0 | 2.0 |",
        "| `level2/66_Random` | **ERROR** | **ERROR** |  |  |  |  | 1.0 | 2.0 |",
        "| `level3/1_Gone` | **DIED** | **DIED** |  |  |  |  |  |  |",
    ]
    words = shown[shown.index("| candidate | outcome | why | problems |") + 2 :]
    assert words == [
        "| skipped activation | NONE | it has no activation | level1/2 |",
        "| copy | INCONCLUSIVE at 1.05 | FAIL for a reason | level1/10 |",
        "| wrong weight | FAIL | not found: the check takes it for right | level1/10 |",
        "| skipped activation | TRACEBACK | RuntimeError: in file.py line 3 | level1/10 |",
        "| wrong weight | HARMLESS | answers as the model does, to the last bit | level2/1 |",
        "| copy | ERROR | The model's answer changes from call to call. | level2/66 |",
        "| copy | DIED | no answer in time | level3/1 |",
        "| any | a warning | the check would let pass: every row one late | level1/10 |",
        "| any | WEAK | the check would let pass: zeros | level2/1 |",
    ]


def test_latest_run_of_a_trial_counts_on_whichever_gpu_it_was(scripts, tmp_path):
    _, table = scripts
    paths = []
    for gpu, outcome, at in (
        ("NVIDIA A", "DIED", None),
        ("NVIDIA B", "WRONG", "2026-02-01"),
        ("NVIDIA C", "FAIL", "2026-01-01"),
    ):
        (tmp_path / gpu).mkdir()
        found = [line("level1/2_Second", "weight", outcome, gpu=gpu, **({"at": at} if at else {}))]
        paths.append(kept_file(scripts, tmp_path / gpu, found))
    (trial,) = table.together(paths)
    assert (trial["device"], trial["outcome"], trial["earlier"]) == ("NVIDIA B", "WRONG", ["DIED", "FAIL"])
    shown = table.tables_of(table.read(paths), table.together(paths))
    assert "| wrong weight: WRONG | 0 of 1 (0.0 %) | 1 of 1 (100.0 %) | 0 of 1 (0.0 %) | 1 of 1 (100.0 %) |" in shown


def test_trial_that_was_run_again_keeps_what_it_was_before(scripts, tmp_path):
    _, table = scripts
    again = [line("level1/2_Second", "weight", "DIED"), line("level1/2_Second", "weight", "WRONG")]
    (trial,) = table.read([kept_file(scripts, tmp_path, again)])
    assert (trial["outcome"], trial["earlier"]) == ("WRONG", ["DIED"])


def test_sizes_other_than_published_are_not_kept(scripts, tmp_path):
    with pytest.raises(SystemExit, match="level1/2_Second has not the sizes that are published"):
        kept_file(scripts, tmp_path, [{**LINES[0], "scale": 32}])
