"""The arithmetic of a gate, against values known in closed form, from scipy, or from their own definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from pytest_kgate import stats


def _rng() -> np.random.Generator:
    return np.random.default_rng(42)


# ---- estimates


def test_estimate_is_the_interquartile_mean_of_each_round() -> None:
    samples = np.array([[1.0, 2, 3, 4, 5, 6, 7, 8, 9, 1000], [10.0, 9, 8, 7, 6, 5, 4, 3, 2, -1000]])
    assert stats.estimate(samples).tolist() == [5.5, 5.5]


def test_estimate_of_few_samples_is_their_mean() -> None:
    assert stats.estimate(np.array([1.0, 2.0, 6.0])) == 3.0
    assert stats.estimate(np.array([0.0, 2.0, 6.0, 50.0])) == 4.0


def test_estimate_at_another_quantile_is_that_quantile() -> None:
    assert stats.estimate(np.arange(11.0), 0.9) == pytest.approx(9.0)


def test_estimate_moves_where_coarse_ticks_freeze_the_median() -> None:
    ticks = np.array([1.0, 1, 1, 1, 1, 1, 2, 2, 2, 2])
    assert np.median(ticks) == 1.0
    assert 1.0 < stats.estimate(ticks) < 2.0


# ---- critical values


def test_critical_values_at_95_percent() -> None:
    assert stats.critical_values(0.95) == pytest.approx((3.966, 3.543, 2.949, 2.344), abs=5e-4)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99, 0.999])
def test_critical_values_spend_alpha_as_promised(confidence: float) -> None:
    """How often any of the first k looks crosses, by the multivariate normal, must be alpha * t**1.5."""
    alpha = (1 - confidence) / 2
    nominal = scipy_stats.t.sf(stats.critical_values(confidence), stats.BLOCKS - 1)
    bounds = scipy_stats.norm.isf(nominal)
    information = np.array(stats.LOOKS) / stats.LOOKS[-1]
    correlation = np.sqrt(np.minimum.outer(information, information) / np.maximum.outer(information, information))
    for k, t in enumerate(information, start=1):
        stay = scipy_stats.multivariate_normal(np.zeros(k), correlation[:k, :k], seed=1).cdf(bounds[:k])
        assert 1 - stay == pytest.approx(alpha * t**1.5, abs=2e-5)


def test_critical_values_rise_with_confidence_and_fall_with_rounds() -> None:
    low, high = stats.critical_values(0.9), stats.critical_values(0.99)
    assert all(a < b for a, b in zip(low, high, strict=True))
    assert sorted(high, reverse=True) == list(high)


# ---- the test over blocks


def test_block_test_averages_contiguous_rounds() -> None:
    ratios = np.repeat(_rng().normal(0.1, 0.02, stats.BLOCKS), 4)
    test = stats.block_test(ratios)
    assert (test.mean, test.rounds) == (pytest.approx(ratios.mean()), 48)
    blocks = ratios[::4]
    r = min(max(stats.lag1(blocks) + 1 / 12, 0), 0.8)
    plain = scipy_stats.sem(blocks)
    assert test.se == pytest.approx(plain * np.sqrt((1 + r) / (1 - r)))
    assert test.autocorrelation == pytest.approx(stats.lag1(blocks))


def test_block_test_never_narrows_for_alternating_blocks() -> None:
    ratios = np.tile([0.1, -0.1], 6)
    test = stats.block_test(ratios)
    assert test.autocorrelation < -0.8
    assert test.se == pytest.approx(scipy_stats.sem(ratios))


def test_block_test_widens_for_a_trend_up_to_a_cap() -> None:
    ratios = np.concatenate([np.zeros(60), np.ones(60)])
    test = stats.block_test(ratios)
    assert test.se == pytest.approx(scipy_stats.sem(np.repeat([0.0, 1.0], 6)) * 3)


def test_block_test_of_equal_ratios_has_no_error() -> None:
    test = stats.block_test(np.full(24, np.log(0.9)))
    assert (test.se, test.autocorrelation) == (0.0, 0.0)


@pytest.mark.parametrize("rounds", [0, 11, 13, 95])
def test_block_test_refuses_rounds_that_do_not_fill_blocks(rounds: int) -> None:
    with pytest.raises(ValueError, match=f"{rounds} rounds do not form 12 equal blocks"):
        stats.block_test(np.zeros(rounds))


# ---- bootstrap intervals


def test_bootstraps_repeat_with_their_seed_and_agree_between_seeds() -> None:
    rng = _rng()
    ratios = rng.normal(0, 0.02, 48)
    one, same, other = (stats.bootstrap_ratio(ratios, 0.95, seed=seed) for seed in (1, 1, 2))
    assert one == same != other
    assert other.low == pytest.approx(one.low, abs=0.05 * (one.high - one.low))


@pytest.mark.parametrize("rounds", [12, 13])
@pytest.mark.parametrize("samples", [1, 7, 10])
def test_resampled_medians_are_medians_of_the_resamples(rounds: int, samples: int) -> None:
    """Against the definition, ties and all, for odd and even numbers of samples."""
    values = np.round(_rng().lognormal(0, 0.1, (rounds, samples)), 2)
    counts = stats._resample_counts(rounds, 200, 42)
    expected = [np.median(np.repeat(values, row.astype(int), axis=0)) for row in counts.T]
    assert stats._resampled_medians(values, counts) == pytest.approx(expected, rel=1e-15)


def test_bootstrap_ratio_matches_scipys_bca() -> None:
    ratios = _rng().gamma(2.0, 0.01, 24)
    ours = stats.bootstrap_ratio(ratios, 0.95, seed=42)
    theirs = scipy_stats.bootstrap((ratios,), np.mean, n_resamples=10_000, random_state=1).confidence_interval
    width = theirs.high - theirs.low
    assert np.log([ours.low, ours.high]) == pytest.approx([theirs.low, theirs.high], abs=0.03 * width)
    assert (ours.estimate, ours.method) == (pytest.approx(np.exp(ratios.mean())), "bca")


@pytest.mark.parametrize("skewed", [False, True])
def test_bootstrap_ratio_covers_the_truth(skewed: bool) -> None:
    """1,000 intervals of 48 rounds at 95 %; of skewed rounds BCa covers a percent or two less."""
    rng, truth = _rng(), 0.1
    covered = 0
    for trial in range(1000):
        noise = rng.exponential(1.0, 48) - 1 if skewed else rng.standard_normal(48)
        interval = stats.bootstrap_ratio(truth + 0.02 * noise, 0.95, resamples=1000, seed=trial % 4)
        covered += interval.low <= np.exp(truth) <= interval.high
    assert 910 <= covered <= 970, covered


def test_bootstrap_difference_covers_the_truth() -> None:
    """400 races of 48 rounds in which the arms of a round share an offset; 5 us is the true difference."""
    rng = _rng()
    covered = 0
    for trial in range(400):
        shared = np.exp(rng.normal(0, 0.01, (48, 1)))
        reference = 100e-6 * shared * np.exp(rng.normal(0, 0.02, (48, 10)))
        candidate = 105e-6 * shared * np.exp(rng.normal(0, 0.02, (48, 10)))
        interval = stats.bootstrap_difference(candidate, reference, 1.0, 0.95, resamples=1000, seed=trial % 4)
        covered += interval.low <= 5e-6 <= interval.high
    assert 365 <= covered <= 395, covered


def test_bootstrap_difference_is_taken_to_the_scaled_reference() -> None:
    candidate, reference = np.full((12, 3), 9.0), np.full((12, 3), 10.0)
    interval = stats.bootstrap_difference(candidate, reference, 1.5, 0.95)
    assert (interval.low, interval.estimate, interval.high) == (-6.0, -6.0, -6.0)


def test_bootstrap_of_equal_ratios_is_a_point() -> None:
    interval = stats.bootstrap_ratio(np.full(12, np.log(0.5)), 0.95)
    assert interval.low == interval.high == pytest.approx(0.5)


# ---- what is only reported


def test_outliers_are_counted_against_their_own_round() -> None:
    samples = 1e-5 * np.exp(_rng().normal(0, 0.01, (24, 10)))
    samples[12:] *= 2  # a slow half of the race is no outlier
    assert stats.count_outliers(samples) == 0
    samples[3, 4] *= 10
    samples[20, 0] *= 0.5
    assert stats.count_outliers(samples) == 2


def test_one_tick_is_no_outlier() -> None:
    samples = np.full((12, 10), 10e-6)
    samples[0, 0] += 0.5e-6
    assert stats.count_outliers(samples) == 1
    assert stats.count_outliers(samples, tick_seconds=0.5e-6) == 0


def test_outliers_of_no_rounds_are_none() -> None:
    assert stats.count_outliers(np.empty((0, 1))) == 0


def test_smallest_step_is_the_tick() -> None:
    samples = np.round(_rng().normal(300, 20, (12, 10))) * 32e-9
    assert stats.smallest_step(samples) == pytest.approx(32e-9)
    assert stats.smallest_step(np.full((3, 3), 1e-6)) == 0.0
