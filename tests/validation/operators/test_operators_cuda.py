"""The same operators on a GPU, raced as well: in place, with several outputs, random, and backward passes."""

from __future__ import annotations

import pytest

from pytest_kgate.validation.operators.table import OPERATORS

pytestmark = pytest.mark.gpu


def name_of(operator):
    return operator.problem(False).name.replace(" ", "-")


@pytest.mark.speedup(10.0)
@pytest.mark.parametrize("operator", [one for one in OPERATORS if not one.refused], ids=name_of)
def test_honest_candidate_is_right_in_a_race(kbench, operator):
    record = kbench(operator.candidate, operator.problem(True), budget=1.0, inconclusive="warn")
    assert record["verdict"] in ("PASS", "INCONCLUSIVE")


@pytest.mark.speedup(10.0)
@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor")
@pytest.mark.parametrize("operator", [one for one in OPERATORS if one.refused], ids=name_of)
def test_what_has_no_elements_to_compare_is_refused_in_a_sentence(kbench, operator):
    with pytest.raises(pytest.fail.Exception, match="nested"):
        kbench(operator.candidate, operator.problem(True), budget=1.0)
