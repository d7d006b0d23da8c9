"""Who can't be told apart shares places; equal candidates are ranked apart as seldom as is promised."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_kgate.report.ranking.places import Estimate
from pytest_kgate.report.ranking.places import SharedRounds
from pytest_kgate.report.ranking.places import mean_of
from pytest_kgate.report.ranking.places import places
from pytest_kgate.report.ranking.places import surely_faster

BLOCKS = 12


def estimate(speedup: float, se: float = 0.004) -> Estimate:
    return Estimate(math.log(speedup), se, BLOCKS - 1)


def test_clear_differences_give_each_candidate_one_place() -> None:
    assert places([estimate(1.1), estimate(2.0), estimate(1.5)]) == [(3, 3), (1, 1), (2, 2)]


def test_candidates_that_cannot_be_told_apart_share_their_places() -> None:
    assert places([estimate(2.0), estimate(1.500), estimate(1.505), estimate(1.497)]) == [
        (1, 1),
        (2, 4),
        (2, 4),
        (2, 4),
    ]


def test_a_noisy_candidate_may_have_any_place_beside_two_that_are_known_to_differ() -> None:
    assert places([estimate(1.5), estimate(1.3), estimate(1.4, se=0.2)]) == [(1, 2), (2, 3), (1, 3)]


def test_candidates_that_shared_rounds_are_told_apart_by_their_own_difference() -> None:
    rng = np.random.default_rng(3)
    of_all = 0.05 * rng.standard_normal(24)  # what each round did to all arms but the reference

    def raced(speedup: float, race: str) -> Estimate:
        logs = of_all + 0.002 * rng.standard_normal(24) - math.log(speedup)
        return Estimate(math.log(speedup), 0.01, 11, SharedRounds(race, tuple(logs)))

    assert places([raced(1.50, "a"), raced(1.48, "a"), raced(1.51, "a")]) == [(2, 2), (3, 3), (1, 1)]
    assert places([raced(1.50, "a"), raced(1.48, "b"), raced(1.51, "c")]) == [(1, 3), (1, 3), (1, 3)]
    equal = [places([raced(1.5, "a"), raced(1.5, "a")]) == [(1, 2), (1, 2)] for _ in range(200)]
    assert sum(equal) >= 180


def test_more_comparisons_need_a_larger_difference() -> None:
    one, other = estimate(1.5), estimate(1.475)
    assert surely_faster(one, other)
    assert not surely_faster(one, other, comparisons=1000)


def test_exact_speedups_are_told_apart_by_any_difference_and_equal_ones_are_not() -> None:
    assert places([estimate(1.5, 0), estimate(1.5, 0), estimate(1.4999, 0)]) == [(1, 2), (1, 2), (3, 3)]


def test_an_interval_of_the_ratio_gives_back_its_ends_as_those_of_the_speedup() -> None:
    found = Estimate.of_interval(0.45, math.sqrt(0.45 * 0.47), 0.47, 0.95, BLOCKS - 1)
    assert found.ends() == pytest.approx((1 / 0.47, 1 / 0.45))
    assert Estimate.of_interval(0.45, math.sqrt(0.45 * 0.47), 0.47, 0.99, BLOCKS - 1).se < found.se


def test_the_mean_of_several_problems_is_known_better_than_each() -> None:
    mean = mean_of([estimate(1.0), estimate(4.0)])
    assert math.exp(mean.mean) == pytest.approx(2.0)
    assert mean.se == pytest.approx(0.004 / math.sqrt(2))
    assert mean.freedom > BLOCKS - 1


def test_equal_candidates_are_ranked_apart_in_at_most_one_of_twenty_tables() -> None:
    rng = np.random.default_rng(7)
    tables, candidates, apart = 1000, 5, 0
    for _ in range(tables):
        blocks = rng.normal(0.0, 0.01, (candidates, BLOCKS))
        ses = blocks.std(axis=1, ddof=1) / math.sqrt(BLOCKS)
        found = [Estimate(float(row.mean()), float(se), BLOCKS - 1) for row, se in zip(blocks, ses, strict=True)]
        apart += any(one != (1, candidates) for one in places(found))
    assert apart / tables < 0.065  # 0.05, and two standard errors of a count of 50
    assert apart > 0
