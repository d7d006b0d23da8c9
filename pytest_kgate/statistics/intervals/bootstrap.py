"""Bootstrap intervals over the rounds of a race, of the ratio and of the difference of medians. Pure."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pytest_kgate.statistics.estimates import ZERO_SPREAD
from pytest_kgate.statistics.estimates import Floats
from pytest_kgate.statistics.estimates import Interval

RESAMPLES = 10_000
"""Bootstrap resamples of an interval: its ends then move by under 2 % of its width from seed to seed."""


@functools.lru_cache(maxsize=4)
def _resample_counts(rounds: int, resamples: int, seed: int) -> NDArray[np.float32]:
    """How often each resample drew each round, (rounds, resamples); cached, since all gates of a race use the same."""
    drawn = np.random.default_rng(seed).integers(rounds, size=(resamples, rounds))
    drawn *= resamples
    drawn += np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * rounds).reshape(rounds, resamples)
    result = counts.astype(np.float32)
    result.flags.writeable = False
    return result


def bootstrap_ratio(ratios: Floats, confidence: float, resamples: int = RESAMPLES, seed: int = 42) -> Interval:
    """BCa bootstrap interval over rounds of the ratio exp(mean of log ratios).

    BCa (Efron, JASA 82, 1987) because the percentile interval is too short on the side of a skewed tail
    at a dozen rounds. For a mean, the jackknife's acceleration is the skewness over 6 sqrt(rounds), in
    closed form.
    """
    mean = float(ratios.mean())
    centred = ratios - mean
    squares = float(centred @ centred)
    if squares <= len(ratios) * ZERO_SPREAD**2:
        point = _exp(mean)
        return Interval(point, point, point, confidence, "bca")
    counts = _resample_counts(len(ratios), resamples, seed)
    means = np.einsum("r,rb->b", centred.astype(np.float32), counts).astype(np.float64) / len(ratios)
    below = float((means < 0).mean() + (means == 0).mean() / 2)
    bias = float(special.ndtri(min(max(below, 0.5 / resamples), 1 - 0.5 / resamples)))
    acceleration = float((centred**3).sum()) / (6 * squares**1.5)
    z = bias + special.ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
    levels = special.ndtr(bias + z / (1 - acceleration * z))
    low, high = np.quantile(means, levels) + mean
    return Interval(_exp(low), _exp(mean), _exp(high), confidence, "bca")


def bootstrap_difference(
    candidate: Floats,
    reference: Floats,
    scale: float,
    confidence: float,
    resamples: int = RESAMPLES,
    seed: int = 42,
) -> Interval:
    """Percentile bootstrap interval of median(candidate) - scale * median(reference), in seconds.

    The medians are over all samples of an arm, (rounds, n). Rounds are resampled whole and in pairs, so
    what the arms of a round share stays shared.
    """
    counts = _resample_counts(len(candidate), resamples, seed)
    differences = _resampled_medians(candidate, counts) - scale * _resampled_medians(reference, counts)
    low, high = np.quantile(differences, [(1 - confidence) / 2, (1 + confidence) / 2])
    point = float(np.median(candidate)) - scale * float(np.median(reference))
    return Interval(float(low), point, float(high), confidence, "percentile")


def bootstrap_apart(
    candidate: Floats, reference: Floats, confidence: float, resamples: int = RESAMPLES, seed: int = 42
) -> tuple[float, float, float]:
    """Low end, estimate and high end of log(median of one arm / median of the other), of arms that share no rounds.

    Percentile interval over rounds, (rounds, n) of each; each arm's are resampled by themselves.
    """
    medians = [
        np.log(_resampled_medians(samples, _resample_counts(len(samples), resamples, seed + number)))
        for number, samples in enumerate((candidate, reference))
    ]
    low, high = np.quantile(medians[0] - medians[1], [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), math.log(float(np.median(candidate)) / float(np.median(reference))), float(high)


def _resampled_medians(samples: Floats, counts: NDArray[np.float32]) -> Floats:
    """The median of all samples of every resample, (resamples,).

    Sorting 10,000 resamples of 960 samples takes a second. Here the samples are sorted once; how many
    samples of a resample lie at or below a sorted position is a product of matrices (rounds drawn x
    samples of the round so far), and the position of the median is found in two steps: its bracket of 32
    positions, then the position in the bracket.
    """
    rounds, n = samples.shape
    order = np.argsort(samples, axis=None, kind="stable")
    values = samples.ravel()[order]
    so_far = np.zeros((rounds * n, rounds), dtype=np.float32)
    so_far[np.arange(rounds * n), order // n] = 1
    np.cumsum(so_far, axis=0, out=so_far)
    width = 32
    coarse = _product(so_far[width - 1 : -1 : width], counts)
    total = np.zeros(counts.shape[1])
    for rank in ((rounds * n - 1) // 2, rounds * n // 2):
        bracket = (coarse <= rank).sum(axis=0, dtype=np.int16)
        for start in np.flatnonzero(np.bincount(bracket)):
            chosen = np.flatnonzero(bracket == start)
            inside = _product(so_far[start * width : (start + 1) * width], np.take(counts, chosen, axis=1))
            total[chosen] += values[start * width + (inside <= rank).sum(axis=0, dtype=np.int16)]
    return total / 2


def _product(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """left @ right in pieces so small that BLAS stays on one thread.

    On a busy machine the threads of a large product wait for each other, up to twenty times longer than the
    work takes, and they spin on afterwards, beside whatever is timed next.
    """
    width = max(1, 250_000 // max(1, left.size))  # OpenBLAS starts threads above 2**18 multiplications
    pieces = [left @ right[:, start : start + width] for start in range(0, right.shape[1], width)]
    return np.concatenate(pieces, axis=1)


def _exp(value: float) -> float:
    """exp(value), with the value cut at 700 so that the result is finite, since records hold no infinity."""
    return math.exp(min(float(value), 700.0))
