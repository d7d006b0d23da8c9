"""Bootstrap intervals, against scipy and their own definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from pytest_kgate.statistics.intervals import bootstrap


def _rng() -> np.random.Generator:
    return np.random.default_rng(42)


def test_bootstraps_repeat_with_their_seed_and_agree_between_seeds() -> None:
    rng = _rng()
    ratios = rng.normal(0, 0.02, 48)
    one, same, other = (bootstrap.bootstrap_ratio(ratios, 0.95, seed=seed) for seed in (1, 1, 2))
    assert one == same != other
    assert other.low == pytest.approx(one.low, abs=0.05 * (one.high - one.low))


@pytest.mark.parametrize("rounds", [12, 13])
@pytest.mark.parametrize("samples", [1, 7, 10])
def test_resampled_medians_are_medians_of_the_resamples(rounds: int, samples: int) -> None:
    """Against the definition, ties and all, for odd and even numbers of samples."""
    values = np.round(_rng().lognormal(0, 0.1, (rounds, samples)), 2)
    counts = bootstrap._resample_counts(rounds, 200, 42)
    expected = [np.median(np.repeat(values, row.astype(int), axis=0)) for row in counts.T]
    assert bootstrap._resampled_medians(values, counts) == pytest.approx(expected, rel=1e-15)


def test_bootstrap_ratio_matches_scipys_bca() -> None:
    ratios = _rng().gamma(2.0, 0.01, 24)
    ours = bootstrap.bootstrap_ratio(ratios, 0.95, seed=42)
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
        interval = bootstrap.bootstrap_ratio(truth + 0.02 * noise, 0.95, resamples=1000, seed=trial % 4)
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
        interval = bootstrap.bootstrap_difference(candidate, reference, 1.0, 0.95, resamples=1000, seed=trial % 4)
        covered += interval.low <= 5e-6 <= interval.high
    assert 365 <= covered <= 395, covered


def test_bootstrap_difference_is_taken_to_the_scaled_reference() -> None:
    candidate, reference = np.full((12, 3), 9.0), np.full((12, 3), 10.0)
    interval = bootstrap.bootstrap_difference(candidate, reference, 1.5, 0.95)
    assert (interval.low, interval.estimate, interval.high) == (-6.0, -6.0, -6.0)


def test_bootstrap_of_equal_ratios_is_a_point() -> None:
    interval = bootstrap.bootstrap_ratio(np.full(12, np.log(0.5)), 0.95)
    assert interval.low == interval.high == pytest.approx(0.5)
