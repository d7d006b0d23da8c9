"""Estimates that are put together."""

from __future__ import annotations

import math

import pytest
from scripted_search import SPACE

from pytest_kgate.search.policy.objective import over_races
from pytest_kgate.search.policy.objective import over_shapes
from pytest_kgate.search.policy.trial import Estimate
from pytest_kgate.search.policy.trial import Trial


def _trial(rounds: int, small: float, large: float) -> Trial:
    estimates = {
        "small": Estimate(math.log(small), 0.03, rounds - 1.0, rounds),
        "large": Estimate(math.log(large), 0.04, rounds - 1.0, rounds),
    }
    seconds = {"race": 1.0}
    return Trial(SPACE.default, "raced", "", estimates, over_shapes(estimates.values()), seconds=seconds)


def test_several_shapes_come_to_their_geometric_mean() -> None:
    objective = _trial(12, 0.5, 2.0).objective
    assert objective is not None
    assert math.exp(objective.log_ratio) == pytest.approx(1.0)
    assert objective.stderr == pytest.approx(0.05 / 2)
    assert 11 < objective.degrees < 22


def test_several_races_count_by_their_rounds_in_each_shape() -> None:
    pooled = over_races(_trial(3, 0.5, 2.0), _trial(12, 0.6, 2.0))
    small = pooled.estimates["small"]
    assert (small.rounds, pooled.seconds) == (15, {"race": 2.0})
    assert small.log_ratio == pytest.approx((3 * math.log(0.5) + 12 * math.log(0.6)) / 15)
    assert pooled.objective == over_shapes(pooled.estimates.values())
    # What is wrong in its second race is wrong.
    assert not over_races(_trial(3, 0.5, 2.0), Trial(SPACE.default, "wrong")).raced
