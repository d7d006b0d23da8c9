"""Estimates from a race's samples: one number a round, log ratios, block means, their standard error. Pure.

Arrays of samples have shape (rounds, samples), in seconds. The round is the statistical unit: everything
that could carry a lasting bias is made anew between rounds, so only rounds are exchangeable, and only
rounds are resampled. `docs/statistics.md` has the method and the reason for every constant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pytest_kgate.statistics.wording import seconds

if TYPE_CHECKING:
    from pytest_kgate.statistics.gate_facts import IntervalFacts

Floats = NDArray[np.float64]

BLOCKS = 12
"""Contiguous blocks of rounds at every look; a block mean hides correlation shorter than itself."""

LARGEST_AUTOCORRELATION = 0.8
"""Cap of the correction below: at 0.8 the interval is three times wider, and twelve blocks show no more."""

_LARGEST_LOG = 700.0
"""Of what float64 can hold."""

ZERO_SPREAD = 1e-12
"""Blocks whose log ratios spread less than this agree but for the rounding of float64."""


@dataclass(frozen=True)
class Interval:
    """A two-sided interval and the estimate inside it."""

    low: float
    estimate: float
    high: float
    confidence: float
    """Two-sided level: at 0.95 each end is exceeded in 2.5 % of races."""
    method: str
    """`blocks-t` (sequential t over blocks), `bca` or `percentile` (bootstrap over rounds)."""

    @classmethod
    def of_logs(cls, low: float, estimate: float, high: float, confidence: float, method: str) -> Interval:
        """The interval of a ratio whose logarithm has this one; all stays finite, as records must."""
        low, estimate, high = (math.exp(min(value, _LARGEST_LOG)) for value in (low, estimate, high))
        return cls(low, estimate, high, confidence, method)

    def to_dict(self) -> IntervalFacts:
        """The interval in built-in types, for the record."""
        return {
            "low": self.low,
            "estimate": self.estimate,
            "high": self.high,
            "confidence": self.confidence,
            "method": self.method,
        }


@dataclass(frozen=True)
class BlockTest:
    """The twelve block means of the log ratio, reduced to what a t test needs."""

    mean: float
    """Mean log ratio."""
    se: float
    """Its standard error, widened for the autocorrelation of the blocks; 0 where all blocks agree."""
    autocorrelation: float
    """Lag-1 autocorrelation of the block means, as observed (not yet corrected); 0 where all blocks agree."""
    rounds: int


def estimate(samples: Floats, quantile: float = 0.5) -> Floats:
    """The latency of each round at this quantile of its samples: (..., samples) -> (...), in the samples' unit.

    At quantile 0.5 the interquartile mean (the mean after a quarter is dropped at each end): it ignores
    outliers as the median does, but moves smoothly where a timer's ticks make the median jump. Else that
    quantile.
    """
    if quantile != 0.5:
        return np.asarray(np.quantile(samples, quantile, axis=-1), dtype=np.float64)
    n = samples.shape[-1]
    cut = n // 4
    return np.asarray(np.sort(samples, axis=-1)[..., cut : n - cut].mean(axis=-1), dtype=np.float64)


def log_ratios(candidate: Floats, reference: Floats, quantile: float = 0.5) -> Floats:
    """Per round: log of the candidate's estimate over the reference's, (rounds,)."""
    return np.log(estimate(candidate, quantile) / estimate(reference, quantile))


def slowed_by(beside: Floats, alone: Floats, quantile: float = 0.5) -> float:
    """How many times as long an arm took beside something as alone; both are (rounds, samples), in seconds.

    The larger of what a gate's two rules go by: the mean over rounds of the log, and the median of all samples. What
    keeps an arm back in nearly half of its samples moves the mean, and with it a ratio's interval, and no median.
    """
    means = np.log(estimate(beside, quantile)).mean() - np.log(estimate(alone, quantile)).mean()
    return max(float(np.exp(means)), float(np.median(beside) / np.median(alone)))


def lag1(values: Floats) -> float:
    """Lag-1 autocorrelation of a series; 0 where the series is constant."""
    deviation = values - values.mean()
    variance = float(deviation @ deviation)
    if variance <= len(values) * ZERO_SPREAD**2:
        return 0.0
    return float(deviation[1:] @ deviation[:-1]) / variance


def block_test(ratios: Floats) -> BlockTest:
    """Mean and standard error of the log ratio (rounds,) from twelve contiguous blocks of rounds.

    The autocorrelation r of m block means is biased by about -1/m, so 1/12 is added; the standard error
    is widened by sqrt((1 + r) / (1 - r)), that of the mean of an AR(1) series, and never narrowed.

    Raises ValueError where the rounds do not fill twelve equal blocks.
    """
    rounds = len(ratios)
    if rounds == 0 or rounds % BLOCKS:
        raise ValueError(f"{rounds} rounds do not form {BLOCKS} equal blocks")
    blocks = ratios.reshape(BLOCKS, -1).mean(axis=1)
    mean = float(blocks.mean())
    spread = float(blocks.std(ddof=1))
    if spread < ZERO_SPREAD:
        return BlockTest(mean, 0.0, 0.0, rounds)
    observed = lag1(blocks)
    return BlockTest(mean, spread / math.sqrt(BLOCKS) * widening(observed), observed, rounds)


def widening(autocorrelation: float, blocks: int = BLOCKS) -> float:
    """What a standard error of so many block means is multiplied by, given their lag-1 autocorrelation as observed."""
    r = min(max(autocorrelation + 1 / blocks, 0.0), LARGEST_AUTOCORRELATION)
    return math.sqrt((1 + r) / (1 - r))


def count_outliers(samples: Floats, tick_seconds: float = 0.0) -> int:
    """The number of outliers among an arm's samples, (rounds, samples) in seconds. Outliers are never deleted.

    A sample's deviation is its ratio to the median of its round, less 1. It is an outlier beyond Tukey's
    far fence, three interquartile ranges outside the quartiles of all deviations of the arm, by more than
    one tick of the timer.
    """
    centre = np.median(samples, axis=1, keepdims=True) if samples.size else np.empty(0)
    if not (centre > 0).all() or not centre.size:  # no latency to compare with: such samples are INVALID anyway
        return 0
    deviation = samples / centre - 1
    lower, upper = np.quantile(deviation, [0.25, 0.75])
    fence = 3 * (upper - lower) + tick_seconds / float(np.median(centre)) + ZERO_SPREAD
    return int(((deviation < lower - fence) | (deviation > upper + fence)).sum())


def resolution(candidate: Floats, reference: Floats, tick_seconds: float) -> float:
    """Half-width of the log ratio's interval where all blocks agree exactly: one tick of the timer on either arm.

    Such samples hold no measure of their own error (a tick too coarse for the kernel, or a made-up clock
    without noise), and a standard error of 0 would decide any gate. With a tick of 0 the ratio is taken
    as exact.
    """
    return tick_seconds / float(np.median(candidate)) + tick_seconds / float(np.median(reference))


def invalid_samples(arm: str, samples: Floats) -> str:
    """Why these samples of an arm can't be judged (NaN, zero, below zero); empty where they can."""
    low, high = (float(samples.min()), float(samples.max())) if samples.size else (1.0, 1.0)
    if low > 0 and high < math.inf:  # false for NaN too
        return ""
    broken = int((~np.isfinite(samples)).sum())
    if broken:
        return f"{broken} of {samples.size} samples of the {arm} are not finite numbers: the timer failed"
    count = int((samples <= 0).sum())
    return (
        f"{count} of {samples.size} net latencies of the {arm} are not positive (lowest {seconds(low)}): "
        "the overhead that is taken off is as large as the kernel; time a larger problem"
    )
