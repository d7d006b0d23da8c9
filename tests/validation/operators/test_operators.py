"""Operators of every kind that users bring: honest candidates pass, mutants die, and docs/operators.md says so."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from pytest_kgate.device.host import HostDevice
from pytest_kgate.report.page.markdown import update_block
from pytest_kgate.validation.operators.run import judge
from pytest_kgate.validation.operators.run import table
from pytest_kgate.validation.operators.table import OPERATORS

pytestmark = pytest.mark.filterwarnings("ignore:.*quantize_per_tensor")  # by PyTorch, of what is refused

NO_DENSE = "refused: The problem's reference returned a sparse, nested or quantised tensor, or one without memory."
REFUSED = {
    "dense to sparse": NO_DENSE,
    "jagged to padded": "refused: The problem's input 0 is a nested tensor.",
    "quantise per tensor": NO_DENSE,
}

PAGE = Path(__file__).parents[3] / "docs" / "operators.md"


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
    assert update_block(page, "operators", table(rows)) == page


if __name__ == "__main__":
    made = [asdict(judge(HostDevice(), operator, large=False)) for operator in OPERATORS]
    PAGE.write_text(update_block(PAGE.read_text(encoding="utf-8"), "operators", table(made)), encoding="utf-8")
