"""Intervals of latency percentiles hold the true one as often as they say, and are left out where they can't."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pytest_kgate.statistics.intervals.percentiles import PERCENTILES
from pytest_kgate.statistics.intervals.percentiles import percentiles
from pytest_kgate.statistics.intervals.percentiles import samples_needed

RACES = 250


def _independent(rng, rounds, samples):
    return rng.standard_normal((rounds, samples))


def _skewed(rng, rounds, samples):
    return rng.standard_exponential((rounds, samples))


def _rounds_differ(rng, rounds, samples):
    return (rng.standard_normal((rounds, samples)) + rng.standard_normal((rounds, 1))) / np.sqrt(2)


def _rounds_alone(rng, rounds, samples):
    return np.sqrt(0.01) * rng.standard_normal((rounds, samples)) + np.sqrt(0.99) * rng.standard_normal((rounds, 1))


def _lasting(rng, rounds, samples):
    series = rng.standard_normal(rounds * samples)
    series[1:] *= np.sqrt(1 - 0.8**2)
    for place in range(1, len(series)):
        series[place] += 0.8 * series[place - 1]
    return series.reshape(rounds, samples)


@pytest.mark.parametrize(
    ("noise", "truth"),
    [
        (_independent, stats.norm),
        (_skewed, stats.expon),
        (_rounds_differ, stats.norm),
        (_rounds_alone, stats.norm),
        (_lasting, stats.norm),
    ],
    ids=["independent", "skewed", "rounds-differ", "rounds-alone", "lasts-for-a-round"],
)
def test_intervals_of_percentiles_hold_the_true_one(noise, truth) -> None:
    """Nominal 95 %, at least 94 % of it; those that can't be given are no misses, nor hits.

    The limit leaves 2.5 standard errors of a count of so few.
    """
    rng = np.random.default_rng(7)
    within = {quantile: [] for quantile in PERCENTILES}
    for _ in range(RACES):
        for one in percentiles(noise(rng, 96, 10)):
            true = truth.ppf(one.quantile)
            if one.low is not None and one.high is not None:
                within[one.quantile].append(one.low <= true <= one.high)
    for quantile, hits in within.items():
        if len(hits) > RACES / 4:
            least = 0.94 - 2.5 * np.sqrt(0.05 * 0.95 / len(hits))
            assert np.mean(hits) >= least, (quantile, len(hits))
    assert len(within[0.5]) == RACES
    assert len(within[0.9]) > 0.9 * RACES


def test_all_intervals_together_hold_the_true_one_in_94_of_100_races() -> None:
    rng = np.random.default_rng(8)
    hits = [
        one.low <= truth.ppf(one.quantile) <= one.high
        for noise, truth in ((_independent, stats.norm), (_rounds_differ, stats.norm), (_skewed, stats.expon))
        for rounds in (24, 48, 96)
        for _ in range(40)
        for one in percentiles(noise(rng, rounds, 10))
        if one.low is not None and one.high is not None
    ]
    assert np.mean(hits) >= 0.94


def test_samples_of_a_round_that_are_all_alike_count_once() -> None:
    alone = np.random.default_rng(1).standard_normal((96, 1))
    one, many = (percentiles(samples)[1] for samples in (alone, np.repeat(alone, 10, axis=1)))
    assert many.effective <= 96
    assert (many.low, many.high) == (one.low, one.high)


def test_p99_is_left_out_below_299_samples_and_says_how_many_more_it_takes() -> None:
    assert [samples_needed(quantile) for quantile in (0.9, 0.95, 0.99)] == [29, 59, 299]
    rng = np.random.default_rng(3)
    few = percentiles(rng.standard_normal((29, 10)))[-1]
    assert (few.high, few.upper) == (None, None)
    assert few.missing >= 9
    enough = percentiles(rng.standard_normal((96, 10)))[-1]
    assert enough.upper is not None
    assert enough.missing == 0


def test_independent_samples_give_the_textbook_ranks() -> None:
    """Of 100 samples, the 40th and 61st hold the median at 95 % (binomial table); rounds cost a little width."""
    samples = np.arange(1.0, 101.0)
    np.random.default_rng(5).shuffle(samples)
    found = percentiles(samples.reshape(100, 1), [0.5])[0]
    assert found.low is not None
    assert found.high is not None
    assert 30 <= found.low <= 40
    assert 61 <= found.high <= 71


def test_one_round_tells_nothing_of_how_rounds_differ() -> None:
    found = percentiles(np.linspace(1.0, 2.0, 50)[None, :])
    assert {one.effective for one in found} == {1}
    assert all(one.upper is None for one in found)


def test_a_clock_without_noise_gives_exact_percentiles() -> None:
    found = percentiles(np.full((96, 10), 1e-5))
    assert {(one.low, one.estimate, one.high) for one in found[:3]} == {(1e-5, 1e-5, 1e-5)}
