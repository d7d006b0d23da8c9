"""The same operators on a GPU, raced as well: in place, with several outputs, random, and backward passes."""

from __future__ import annotations

import pytest

from pytest_kgate.validation.operators.table import OPERATORS

pytestmark = pytest.mark.gpu


@pytest.mark.speedup(10.0)
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda one: one.problem(False).name.replace(" ", "-"))
def test_honest_candidate_is_right_in_a_race(kbench, operator):
    record = kbench(operator.candidate, operator.problem(True), budget=1.0, inconclusive="warn")
    assert record["verdict"] in ("PASS", "INCONCLUSIVE")
