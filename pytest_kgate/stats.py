"""The arithmetic of a gate: samples of rounds in, estimates and intervals out. Pure numpy and scipy.

Arrays of samples have shape (rounds, samples), in seconds. The round is the statistical unit: everything
that could carry a lasting bias is made anew between rounds, so only rounds are exchangeable, and only
rounds are resampled. `docs/statistics.md` has the method and the reason for every constant.
"""

from __future__ import annotations

import functools
import math
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy import special

Floats = NDArray[np.float64]

LOOKS = (12, 24, 48, 96)
"""Rounds after which a race is judged. Doubling keeps the looks few and the price of looking low."""

BLOCKS = 12
"""Contiguous blocks of rounds at every look; a block mean hides correlation shorter than itself."""

SPENDING_POWER = 1.5
"""Kim-DeMets spending alpha * t**1.5: 4 % of alpha at the first look, 65 % at the last."""

RESAMPLES = 10_000
"""Bootstrap resamples of an interval: its ends then move by under 2 % of its width from seed to seed."""

_LARGEST_AUTOCORRELATION = 0.8
"""Cap of the correction below: at 0.8 the interval is three times wider, and twelve blocks show no more."""

_ZERO_SPREAD = 1e-12
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

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


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
    """One number for the samples of each round: (..., n) -> (...).

    At quantile 0.5 the interquartile mean (the mean after a quarter is dropped at each end): it ignores
    outliers as the median does, but moves smoothly where a timer's ticks make the median jump. Else that
    quantile.
    """
    if quantile != 0.5:
        return np.asarray(np.quantile(samples, quantile, axis=-1), dtype=np.float64)
    n = samples.shape[-1]
    cut = n // 4
    return np.asarray(np.sort(samples, axis=-1)[..., cut : n - cut].mean(axis=-1), dtype=np.float64)


@dataclass(frozen=True)
class _Look:
    """One look at the Brownian motion that the partial mean is, on the side where it may win."""

    spent: float
    """Chance of having crossed at an earlier look."""
    position: Floats
    mass: Floats
    """Where the paths that have not crossed were at the look before, as nodes and weights of an integral."""
    step: float
    """Standard deviation of the way from there to this look."""
    scale: float
    """Standard deviation of the motion at this look."""
    bound: float
    """Above it a path crosses, at this look."""

    def beyond(self, bound: float) -> float:
        """Chance of being above `bound` at this look without having crossed before."""
        return float(self.mass @ special.ndtr((self.position - bound) / self.step))


@functools.cache
def _boundary(confidence: float) -> tuple[_Look, ...]:
    """The boundary of the looks, by recursive integration of the density of the paths not yet stopped.

    Armitage, McPherson and Rowe, JRSS A 132, 1969. One-sided alpha is (1 - confidence) / 2 and is spent as
    alpha * t**1.5 at information t = 1/8, 1/4, 1/2, 1 (Kim and DeMets, Biometrika 74, 1987).
    """
    alpha = (1 - confidence) / 2
    # Gauss-Legendre: the integrands are smooth on (-8 sd, boundary), so 200 nodes give more than ten digits.
    nodes, weights = np.polynomial.legendre.leggauss(200)
    looks: list[_Look] = []
    position, mass = np.zeros(1), np.ones(1)  # the paths still running: all of them at 0
    before, spent = 0.0, 0.0
    for t in (rounds / LOOKS[-1] for rounds in LOOKS):
        open_look = _Look(spent, position, mass, math.sqrt(t - before), math.sqrt(t), math.inf)
        spend = alpha * t**SPENDING_POWER - spent

        def excess(bound: float, look: _Look = open_look, spend: float = spend) -> float:
            return look.beyond(bound) - spend

        bound = float(optimize.brentq(excess, 0.0, 12.0 * math.sqrt(t), xtol=1e-13))
        looks.append(replace(open_look, bound=bound))
        low = -8.0 * math.sqrt(t)
        grid = low + (bound - low) * (nodes + 1) / 2
        z = (grid[:, None] - position[None, :]) / open_look.step
        density = np.exp(-z * z / 2) @ mass / (open_look.step * math.sqrt(2 * math.pi))
        position, mass = grid, density * weights * (bound - low) / 2
        before, spent = t, spent + spend
    return tuple(looks)


@functools.cache
def critical_values(confidence: float) -> tuple[float, ...]:
    """The t value per look that the mean must clear, in standard errors, on either side of the bound.

    The nominal one-sided p of each look's boundary is carried over to the t distribution of twelve blocks.
    """
    nominal = [special.ndtr(-look.bound / look.scale) for look in _boundary(confidence)]
    return tuple(-float(special.stdtrit(BLOCKS - 1, level)) for level in nominal)


def sequential_p(t: float, look: int, confidence: float) -> float:
    """The one-sided p value of a race that ended at this look, `t` standard errors on the winning side.

    The chance, on the bound itself, to cross at an earlier look, or to be at least as far as this at this
    one: the stage-wise ordering of Fairbanks and Madsen (Biometrika 69, 1982), in which an earlier win is
    the stronger one. The p value at a look alone is not one, for the race chose the look by its value. Is at
    most (1 - confidence) / 2 exactly where the boundary is crossed. Crossing to the losing side counts as
    going on, which errs towards caution, as the boundary itself does.
    """
    at = _boundary(confidence)[look]
    z = -float(special.ndtri(special.stdtr(BLOCKS - 1, -t)))
    return min(1.0, at.spent + at.beyond(z * at.scale))


def log_ratios(candidate: Floats, reference: Floats, quantile: float = 0.5) -> Floats:
    """Per round: log of the candidate's estimate over the reference's, (rounds,)."""
    return np.log(estimate(candidate, quantile) / estimate(reference, quantile))


def lag1(values: Floats) -> float:
    """Lag-1 autocorrelation of a series; 0 where the series is constant."""
    deviation = values - values.mean()
    variance = float(deviation @ deviation)
    if variance <= len(values) * _ZERO_SPREAD**2:
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
    if spread < _ZERO_SPREAD:
        return BlockTest(mean, 0.0, 0.0, rounds)
    observed = lag1(blocks)
    r = min(max(observed + 1 / BLOCKS, 0.0), _LARGEST_AUTOCORRELATION)
    se = spread / math.sqrt(BLOCKS) * math.sqrt((1 + r) / (1 - r))
    return BlockTest(mean, se, observed, rounds)


def t_below(distance: float, se: float) -> float:
    """P(T <= distance / se) of Student's t over twelve blocks; with se 0 the distance is exact."""
    if se == 0:
        return 0.5 * (1 + float(np.sign(distance)))
    return float(special.stdtr(BLOCKS - 1, distance / se))


@functools.lru_cache(maxsize=4)
def _resample_counts(rounds: int, resamples: int, seed: int) -> NDArray[np.float32]:
    """How often each resample drew each round, (rounds, resamples). Kept: the gates of a race share it."""
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
    if squares <= len(ratios) * _ZERO_SPREAD**2:
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


def count_outliers(samples: Floats, tick_seconds: float = 0.0) -> int:
    """How many samples stand far from their round: they are counted, never deleted.

    A sample's deviation is its ratio to the median of its round, less 1. It is an outlier beyond Tukey's
    far fence, three interquartile ranges outside the quartiles of all deviations of the arm, by more than
    one tick of the timer.
    """
    if samples.size == 0:
        return 0
    centre = np.median(samples, axis=1, keepdims=True)
    deviation = samples / centre - 1
    lower, upper = np.quantile(deviation, [0.25, 0.75])
    fence = 3 * (upper - lower) + tick_seconds / float(np.median(centre)) + _ZERO_SPREAD
    return int(((deviation < lower - fence) | (deviation > upper + fence)).sum())


def smallest_step(samples: Floats) -> float:
    """The smallest step between distinct raw samples, in seconds; 0 where all are equal.

    Steps under a millionth of the median are rounding of float64, not ticks.
    """
    ordered = np.sort(samples, axis=None)
    steps = np.diff(ordered)
    steps = steps[steps > 1e-6 * abs(float(np.median(ordered)))]
    return float(steps.min()) if len(steps) else 0.0


def _exp(value: float) -> float:
    """exp that stays finite, for records hold no infinity."""
    return math.exp(min(float(value), 700.0))
