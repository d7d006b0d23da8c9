"""Operators of every kind that users bring: honest candidates pass, mutants die, and docs/operators.md says so."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from pytest_kgate.device.host import HostDevice
from pytest_kgate.report.page.markdown import update_block
from pytest_kgate.system.folders.shared_folder import VARIABLE
from pytest_kgate.validation.operators.run import judge
from pytest_kgate.validation.operators.run import overflow
from pytest_kgate.validation.operators.run import recorded
from pytest_kgate.validation.operators.run import table
from pytest_kgate.validation.operators.table import OPERATORS

pytestmark = pytest.mark.filterwarnings("ignore:.*quantize_per_tensor")  # by PyTorch, of what is refused

NO_DENSE = "refused: The problem's reference returned a sparse, nested or quantised tensor, or one without memory."
REFUSED = {
    "dense to sparse": NO_DENSE,
    "jagged to padded": "refused: The problem's input 0 is a nested tensor.",
    "quantise per tensor": NO_DENSE,
}

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "operators.md"


@pytest.fixture(scope="module")
def rows():
    return [asdict(judge(HostDevice(), operator, large=False)) for operator in OPERATORS]


def test_at_least_forty_operators_are_shown_to_the_check(rows):
    assert len({row["operator"] for row in rows}) == len(rows) >= 40


def test_honest_candidates_pass_or_are_refused_in_a_sentence(rows):
    assert {row["operator"]: row["honest"] for row in rows if row["honest"] != "passes"} == REFUSED


def test_every_mutant_of_every_output_dies(rows):
    assert {row["operator"]: row["lived"] for row in rows if row["lived"]} == {}
    assert all(row["killed"] >= 11 for row in rows if row["operator"] not in REFUSED)


def test_page_has_the_table_that_this_makes(rows):
    """To make it anew: `python tests/validation/operators/test_operators.py`."""
    page = PAGE.read_text(encoding="utf-8")
    assert update_block(page, "operators", table(rows, recorded(ROOT / "benchmarks"))) == page


def test_a_gpu_has_columns_of_its_own_where_there_is_a_record(rows, tmp_path):
    gates = {
        name: {"verdict": verdict, "reason": "it is off", "seconds": 3.25, "peak_bytes": 30 * 2**30}
        for name, verdict in (("honest", "PASS"), ("overflow", "WRONG"))
    }
    there = {
        "created": "2026-01-01",
        "environment": {"gpu": {"name": "GPU"}},
        "rows": [{**row, "peak_bytes": 3 * 2**29} for row in rows if row["operator"] != "relu"],
        "overflow": {"problem": "rows", **gates},
    }
    (tmp_path / "gpu").mkdir()
    (tmp_path / "gpu" / "operators-new.json").write_text(json.dumps(there))
    (tmp_path / "gpu" / "operators-old.json").write_text(json.dumps({**there, "created": "2025-01-01", "rows": []}))
    shown = table(rows, recorded(tmp_path)).splitlines()
    assert shown[0].endswith("| no mutant here | GPU | GiB |")
    assert "| relu | one output | passes | 15 of 15 |  |  |  |" in shown
    assert "| swiglu | float16, two inputs | passes | 16 of 16 |  | passes, 16 of 16 | 1.5 |" in shown
    assert next(one for one in shown if one.startswith("| jagged to padded")).endswith("|  |  | refused | 1.5 |")
    assert "gate is PASS (30.0 GiB, 3.2 s), that of a candidate with an index of 32 bits WRONG" in shown[-1]


def test_what_lies_beyond_an_index_is_found_missing(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))  # what is raced here waits for nobody, and nothing is read off it
    found = overflow(HostDevice(), rows=130, width=64, index_limit=129 * 64, budget=0.2)
    assert found["overflow"]["verdict"] == "WRONG"
    assert found["honest"]["verdict"] in ("PASS", "INCONCLUSIVE", "INVALID")


if __name__ == "__main__":
    made = [asdict(judge(HostDevice(), operator, large=False)) for operator in OPERATORS]
    tables = table(made, recorded(ROOT / "benchmarks"))
    PAGE.write_text(update_block(PAGE.read_text(encoding="utf-8"), "operators", tables), encoding="utf-8")
