"""The table of docs/published.md: made of the committed facts, in which no solution is taken for what it is not."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FACTS = sorted((ROOT / "benchmarks").glob("*/published-*.jsonl"))


@pytest.fixture(scope="module")
def table():
    """The module of benchmarks/published, which imports another as a script does."""
    names = ("table", "trials")
    sys.path.insert(0, str(ROOT / "benchmarks" / "published"))
    try:
        for name in names:
            sys.modules.pop(name, None)
        yield importlib.import_module("table")
    finally:
        sys.path.pop(0)
        for name in names:
            sys.modules.pop(name, None)


def test_table_of_the_page_is_made_from_the_committed_facts(table):
    page = (ROOT / "docs" / "published.md").read_text(encoding="utf-8")
    assert FACTS
    assert f"<!-- kgate:published -->\n{table.table_of(table.read(FACTS)).strip()}\n<!-- /kgate -->" in page


@pytest.mark.parametrize("path", FACTS, ids=lambda path: path.parent.name)
def test_committed_facts_are_of_known_trials_and_name_no_folder_of_a_machine(table, path):
    lines = table.read([path])
    assert table.kept(lines) == lines
    assert not [one["reason"] for one in lines if "/" in one["reason"]]


@pytest.mark.parametrize("path", FACTS, ids=lambda path: path.parent.name)
def test_no_wrong_solution_passes_and_no_right_one_is_wrong(table, path):
    lines = table.read([path])
    assert {one["verdict"] for one in lines if one["wanted"] == "WRONG"} == {"WRONG"}
    assert "WRONG" not in {one["verdict"] for one in lines if one["wanted"] == "PASS"}


def test_a_trial_that_was_run_again_keeps_what_it_was_before(table, tmp_path):
    line = {"problem": "rmsnorm/rmsnorm_h128", "case": "4b7f0d02", "candidate": "run", "wanted": "PASS", "reason": ""}
    file = tmp_path / "facts.jsonl"
    verdicts = ("INVALID", "INCONCLUSIVE", "PASS")
    file.write_text("".join(json.dumps({**line, "file": "rmsnorm.py", "verdict": one}) + "\n" for one in verdicts))
    (kept,) = table.kept(table.read([file]))
    assert (kept["verdict"], kept["earlier"]) == ("PASS", ["INVALID", "INCONCLUSIVE"])
    assert "PASS (before: INVALID, INCONCLUSIVE)" in table.table_of([kept])
