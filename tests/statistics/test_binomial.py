"""Counts of rare events, against SciPy's exact test."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from pytest_kgate.statistics.intervals import binomial


@pytest.mark.parametrize("rate", [0.025, 0.5, 0.9])
@pytest.mark.parametrize(("count", "tries"), [(0, 1), (1, 1), (0, 40), (3, 40), (40, 40), (150, 4000)])
def test_probabilities_and_limit_are_those_of_the_exact_test(count: int, tries: int, rate: float) -> None:
    greater, less = (binomtest(count, tries, rate, alternative=side) for side in ("greater", "less"))
    assert binomial.at_least(count, tries, rate) == pytest.approx(greater.pvalue)
    assert binomial.at_most(count, tries, rate) == pytest.approx(less.pvalue)
    limit = less.proportion_ci(0.95, method="exact").high
    assert binomial.upper_limit(count, tries, 0.95) == pytest.approx(limit)
