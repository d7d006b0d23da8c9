"""The interval of a number of rounds that was fixed before the race: how often it holds, and what it is made of."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_kgate.statistics.estimates import block_test
from pytest_kgate.statistics.intervals.fixed_rounds import of_log_ratios
from pytest_kgate.statistics.intervals.fixed_rounds import of_samples

RACES = 600


@pytest.mark.parametrize("rounds", [2, 3, 7, 12, 17, 48])
def test_interval_of_any_number_of_rounds_holds_as_often_as_it_says(rounds: int) -> None:
    rng = np.random.default_rng([42, rounds])
    found = [of_log_ratios(0.1 + 0.01 * rng.standard_normal(rounds)) for _ in range(RACES)]
    held = np.mean([one.interval().low <= np.exp(0.1) <= one.interval().high for one in found])
    assert 0.935 <= held <= 0.995
    means = np.array([one.log_ratio for one in found])
    assert means.mean() == pytest.approx(0.1, abs=4 * 0.01 / np.sqrt(rounds * RACES))


@pytest.mark.parametrize("rounds", [12, 24, 96])
def test_whole_blocks_have_the_standard_error_of_a_look(rounds: int) -> None:
    ratios = 0.02 * np.random.default_rng(rounds).standard_normal(rounds).cumsum()
    found, look = of_log_ratios(ratios), block_test(ratios)
    assert (found.log_ratio, found.stderr) == pytest.approx((look.mean, look.se))
    assert found.degrees == 11


def test_rounds_that_follow_each_other_widen_the_interval() -> None:
    rising = np.linspace(0.0, 0.01, 12)
    shuffled = np.random.default_rng(1).permutation(rising)
    assert of_log_ratios(rising).stderr > 1.5 * of_log_ratios(shuffled).stderr


def test_rounds_that_agree_exactly_are_known_to_a_tick_and_an_offset_is_added() -> None:
    arm = np.full((6, 4), 1e-5)
    exact = of_samples(arm, arm)
    ticked = of_samples(arm, arm, tick_seconds=1e-7)
    apart = of_samples(arm, arm, offset_sd=0.005)
    assert exact is not None
    assert ticked is not None
    assert apart is not None
    assert (exact.stderr, ticked.stderr, apart.stderr) == pytest.approx((0.0, 0.02, 0.005))


def test_one_round_and_samples_that_are_no_latency_tell_no_ratio() -> None:
    arm = np.full((6, 4), 1e-5)
    assert of_samples(arm[:1], arm[:1]) is None
    assert of_samples(arm, arm * np.array([1, 1, 1, -1])) is None
