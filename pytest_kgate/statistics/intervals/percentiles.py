"""Percentiles of an arm's latency, with intervals that assume no distribution. Pure.

The interval's ends are samples: of n independent ones, the number below the true p quantile is binomial (n, p), so that
the sample of a rank that is rarely above it (or below it) bounds it. The samples of a race are not independent, since
those of a round share a clock, inputs and addresses. They count as fewer therefore: as many independent ones as would
let the share of samples below the quantile vary as it does from round to round (Woodruff, JASA 47, 1952; the effective
number with its correction for few rounds is that of Korn and Graubard, Survey Methodology 24, 1998).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from pytest_kgate.statistics.estimates import BLOCKS
from pytest_kgate.statistics.estimates import LARGEST_AUTOCORRELATION
from pytest_kgate.statistics.estimates import Floats
from pytest_kgate.statistics.estimates import lag1

if TYPE_CHECKING:
    from pytest_kgate.statistics.gate_facts import PercentileFacts

PERCENTILES = (0.5, 0.9, 0.95, 0.99)
"""Those that records have."""

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Percentile:
    """One quantile of an arm's samples, in the samples' unit. A bound is None where the samples can't carry it."""

    quantile: float
    estimate: float
    low: float | None
    high: float | None
    """Ends of the two-sided interval."""
    upper: float | None
    """One-sided: the quantile is below it, at the confidence."""
    confidence: float
    effective: int
    """As many independent samples as these are worth for this quantile."""
    missing: int
    """How many more samples, worth as much each as those there are, the one-sided bound needs; 0 where there is one."""

    def to_dict(self) -> PercentileFacts:
        """The percentile in built-in types, for the record."""
        return {
            "quantile": self.quantile,
            "estimate_seconds": self.estimate,
            "low_seconds": self.low,
            "high_seconds": self.high,
            "upper_seconds": self.upper,
            "confidence": self.confidence,
            "effective_samples": self.effective,
            "missing_samples": self.missing,
        }


def percentiles(
    samples: Floats, quantiles: Sequence[float] = PERCENTILES, confidence: float = _CONFIDENCE
) -> list[Percentile]:
    """Each quantile of all samples, (rounds, samples), with its interval; the quantiles are each of their own.

    Raises ValueError where there are no samples.
    """
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim != 2 or not samples.size:
        raise ValueError(f"percentiles are of (rounds, samples), not of {samples.shape}")
    ordered = np.sort(samples, axis=None)
    middle = _worth(samples, 0.5)
    # How alike the samples of a round are is told best by the middle: of those beyond a far quantile there are few.
    worths = [min(middle, _worth(samples, quantile)) for quantile in quantiles]
    return [_percentile(ordered, one, worth, confidence) for one, worth in zip(quantiles, worths, strict=True)]


def carries(samples: Floats, quantile: float, precision: float | None = None) -> bool:
    """Whether the quantile has an interval, whose half-width is at most `precision` of it where that is given."""
    if not np.isfinite(samples).all() or not (samples > 0).all():
        return True  # nothing that more of them would mend
    (found,) = percentiles(samples, [quantile])
    if found.low is None or found.high is None:
        return False
    return precision is None or (found.high - found.low) / 2 <= precision * found.estimate


def samples_needed(quantile: float, confidence: float = _CONFIDENCE) -> int:
    """Independent samples that an upper bound of the quantile needs: 299 for p99 at 95 %.

    Of fewer, even the largest is below the quantile too often.
    """
    return math.ceil(math.log(1 - confidence) / math.log(quantile) - 1e-9)


def _percentile(ordered: Floats, quantile: float, worth: float, confidence: float) -> Percentile:
    """`worth` is what share of the samples independent ones would be."""
    estimate, count = float(np.quantile(ordered, quantile)), ordered.size
    effective = max(1, math.floor(worth * count + 1e-9))
    low = _rank_from_below(effective, quantile, (1 - confidence) / 2)
    high = _rank_from_above(effective, quantile, (1 - confidence) / 2)
    upper = _rank_from_above(effective, quantile, 1 - confidence)
    missing = 0 if upper else max(1, math.ceil(samples_needed(quantile, confidence) / worth - 1e-9) - count)

    def sample(rank: int) -> float:
        return float(ordered[rank - 1])

    # Ranks among the effective samples are stretched to those among all, away from the middle.
    return Percentile(
        quantile,
        estimate,
        sample((low - 1) * count // effective + 1) if low else None,
        sample(-(-high * count // effective)) if high else None,
        sample(-(-upper * count // effective)) if upper else None,
        confidence,
        effective,
        missing,
    )


def _worth(samples: Floats, quantile: float) -> float:
    """What share of the samples independent ones would be, that vary as much in how many of them are below a quantile.

    The share below it varies from round to round; where rounds are alike, too, their mean varies by more than that
    tells. The larger of two estimates of that counts: by the correlation from one round to the next, and by blocks. The
    variance is known from few rounds only, which the quantiles of t allow for.
    """
    rounds, count = samples.shape[0], samples.size
    if rounds < 2:
        return 1 / count  # nothing tells how rounds differ
    value, binomial = np.quantile(samples, quantile), quantile * (1 - quantile) / count
    below = (samples < value).mean(axis=1) + (samples == value).mean(axis=1) / 2
    r = min(max(lag1(below) + 1 / rounds, 0.0), LARGEST_AUTOCORRELATION)
    worth = _ratio_of_variances(binomial, float(below.var(ddof=1)) / rounds * (1 + r) / (1 - r), count, rounds)
    if rounds > BLOCKS:
        blocks = np.array([block.mean() for block in np.array_split(below, BLOCKS)])
        worth = min(worth, _ratio_of_variances(binomial, float(blocks.var(ddof=1)) / BLOCKS, count, BLOCKS))
    return worth


def _ratio_of_variances(binomial: float, seen: float, count: int, groups: int) -> float:
    """That of independent samples over the one seen, at most 1, less what a variance of so few groups leaves open."""
    few = float(special.stdtrit(count - 1, 0.975) / special.stdtrit(groups - 1, 0.975))
    return binomial / max(seen, binomial) * few**2


def _rank_from_below(count: int, quantile: float, alpha: float) -> int:
    """The largest rank, from 1, whose sample is above the quantile with a chance of at most alpha; 0 if none is."""
    # the sample of rank r is above it where fewer than r are below it
    ranks = np.arange(1, count + 1)
    return int((special.bdtr(ranks - 1, count, quantile) <= alpha).sum())


def _rank_from_above(count: int, quantile: float, alpha: float) -> int:
    """The smallest rank, from 1, whose sample is below the quantile with a chance of at most alpha; 0 if none is."""
    ranks = np.arange(1, count + 1)
    enough = special.bdtrc(ranks - 1, count, quantile) <= alpha  # r or more samples are below it
    return int(ranks[enough][0]) if enough.any() else 0
