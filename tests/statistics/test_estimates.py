"""The arithmetic of a gate, against values known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from pytest_kgate.statistics import estimates


def _rng() -> np.random.Generator:
    return np.random.default_rng(42)


# ---- estimates


def test_estimate_is_the_interquartile_mean_of_each_round() -> None:
    samples = np.array([[1.0, 2, 3, 4, 5, 6, 7, 8, 9, 1000], [10.0, 9, 8, 7, 6, 5, 4, 3, 2, -1000]])
    assert estimates.estimate(samples).tolist() == [5.5, 5.5]


def test_estimate_of_few_samples_is_their_mean() -> None:
    assert estimates.estimate(np.array([1.0, 2.0, 6.0])) == 3.0
    assert estimates.estimate(np.array([0.0, 2.0, 6.0, 50.0])) == 4.0


def test_estimate_at_another_quantile_is_that_quantile() -> None:
    assert estimates.estimate(np.arange(11.0), 0.9) == pytest.approx(9.0)


def test_estimate_moves_where_coarse_ticks_freeze_the_median() -> None:
    ticks = np.array([1.0, 1, 1, 1, 1, 1, 2, 2, 2, 2])
    assert np.median(ticks) == 1.0
    assert 1.0 < estimates.estimate(ticks) < 2.0


# ---- the test over blocks


def test_block_test_averages_contiguous_rounds() -> None:
    ratios = np.repeat(_rng().normal(0.1, 0.02, estimates.BLOCKS), 4)
    test = estimates.block_test(ratios)
    assert (test.mean, test.rounds) == (pytest.approx(ratios.mean()), 48)
    blocks = ratios[::4]
    r = min(max(estimates.lag1(blocks) + 1 / 12, 0), 0.8)
    plain = scipy_stats.sem(blocks)
    assert test.se == pytest.approx(plain * np.sqrt((1 + r) / (1 - r)))
    assert test.autocorrelation == pytest.approx(estimates.lag1(blocks))


def test_block_test_never_narrows_for_alternating_blocks() -> None:
    ratios = np.tile([0.1, -0.1], 6)
    test = estimates.block_test(ratios)
    assert test.autocorrelation < -0.8
    assert test.se == pytest.approx(scipy_stats.sem(ratios))


def test_block_test_widens_for_a_trend_up_to_a_cap() -> None:
    ratios = np.concatenate([np.zeros(60), np.ones(60)])
    test = estimates.block_test(ratios)
    assert test.se == pytest.approx(scipy_stats.sem(np.repeat([0.0, 1.0], 6)) * 3)


def test_block_test_of_equal_ratios_has_no_error() -> None:
    test = estimates.block_test(np.full(24, np.log(0.9)))
    assert (test.se, test.autocorrelation) == (0.0, 0.0)


@pytest.mark.parametrize("rounds", [0, 11, 13, 95])
def test_block_test_refuses_rounds_that_do_not_fill_blocks(rounds: int) -> None:
    with pytest.raises(ValueError, match=f"{rounds} rounds do not form 12 equal blocks"):
        estimates.block_test(np.zeros(rounds))


# ---- what is only reported


def test_outliers_are_counted_against_their_own_round() -> None:
    samples = 1e-5 * np.exp(_rng().normal(0, 0.01, (24, 10)))
    samples[12:] *= 2  # a slow half of the race is no outlier
    assert estimates.count_outliers(samples) == 0
    samples[3, 4] *= 10
    samples[20, 0] *= 0.5
    assert estimates.count_outliers(samples) == 2


def test_one_tick_is_no_outlier() -> None:
    samples = np.full((12, 10), 10e-6)
    samples[0, 0] += 0.5e-6
    assert estimates.count_outliers(samples) == 1
    assert estimates.count_outliers(samples, tick_seconds=0.5e-6) == 0


@pytest.mark.parametrize("samples", [np.empty((0, 1)), np.zeros((12, 10))], ids=["no rounds", "no latency"])
def test_outliers_are_none_where_there_is_nothing_to_compare_with(samples: np.ndarray) -> None:
    assert estimates.count_outliers(samples, tick_seconds=32e-9) == 0
