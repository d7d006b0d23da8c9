"""The critical values of the looks, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from pytest_kgate.statistics import estimates
from pytest_kgate.statistics import group_sequential
from pytest_kgate.statistics.gate_facts import LOOKS


def test_critical_values_at_95_percent() -> None:
    assert group_sequential.critical_values(0.95) == pytest.approx((3.966, 3.543, 2.949, 2.344), abs=5e-4)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.975, 0.9875, 0.99, 0.999])
def test_critical_values_spend_alpha_as_promised(confidence: float) -> None:
    """How often any of the first k looks crosses, by the multivariate normal, must be alpha * t**1.5."""
    alpha = (1 - confidence) / 2
    nominal = scipy_stats.t.sf(group_sequential.critical_values(confidence), estimates.BLOCKS - 1)
    bounds = scipy_stats.norm.isf(nominal)
    information = np.array(LOOKS) / LOOKS[-1]
    correlation = np.sqrt(np.minimum.outer(information, information) / np.maximum.outer(information, information))
    for k, t in enumerate(information, start=1):
        stay = scipy_stats.multivariate_normal(np.zeros(k), correlation[:k, :k], seed=1).cdf(bounds[:k])
        assert 1 - stay == pytest.approx(alpha * t**1.5, abs=2e-5)


def test_critical_values_rise_with_confidence_and_fall_with_rounds() -> None:
    low, high = group_sequential.critical_values(0.9), group_sequential.critical_values(0.99)
    assert all(a < b for a, b in zip(low, high, strict=True))
    assert sorted(high, reverse=True) == list(high)
