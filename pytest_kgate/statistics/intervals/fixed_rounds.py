"""The log ratio of a race of a number of rounds that was fixed before it, with its standard error. Pure.

Such a race has no looks that an interval would have to pay for: Student's t over its rounds holds, or over twelve
blocks of neighbours where there are more, for the same reasons as at a look (`estimates.block_test`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from pytest_kgate.statistics.estimates import BLOCKS
from pytest_kgate.statistics.estimates import ZERO_SPREAD
from pytest_kgate.statistics.estimates import Floats
from pytest_kgate.statistics.estimates import Interval
from pytest_kgate.statistics.estimates import invalid_samples
from pytest_kgate.statistics.estimates import lag1
from pytest_kgate.statistics.estimates import log_ratios
from pytest_kgate.statistics.estimates import resolution
from pytest_kgate.statistics.estimates import widening

FEWEST = 2
"""Rounds: one has no spread that would tell how far off it is."""


class LogRatio(NamedTuple):
    """The mean log ratio of a race's rounds, and what is known of its error."""

    log_ratio: float
    stderr: float
    """Standard error of the mean."""
    degrees: float
    """Degrees of freedom of the standard error, for Student's t."""
    rounds: int

    def interval(self, confidence: float = 0.95) -> Interval:
        """The two-sided interval of the latency ratio."""
        half = -float(special.stdtrit(self.degrees, (1 - confidence) / 2)) * self.stderr
        mean = self.log_ratio
        return Interval.of_logs(mean - half, mean, mean + half, confidence, "rounds-t")


def of_log_ratios(ratios: Floats | Sequence[float], *, least_error: float = 0.0, offset_sd: float = 0.0) -> LogRatio:
    """The mean of log ratios, one a round: (rounds,), in the order in which the rounds were taken.

    `least_error` is the standard error where all rounds agree exactly, which then hold no measure of it. `offset_sd`
    is the standard deviation of what the whole race is off by, which none of its rounds shows.

    Raises ValueError for fewer than two rounds.
    """
    ratios, rounds = np.asarray(ratios, dtype=np.float64), len(ratios)
    if rounds < FEWEST:
        raise ValueError(f"{rounds} rounds hold no measure of their error")
    mean = float(ratios.mean())
    blocks = np.array_split(ratios, min(BLOCKS, rounds))
    means, sizes = np.array([one.mean() for one in blocks]), np.array([len(one) for one in blocks])
    # Blocks may differ by one round: each counts by its rounds, as in a weighted mean.
    spread = math.sqrt(float(sizes @ (means - mean) ** 2) / (len(blocks) - 1))
    if spread < ZERO_SPREAD:
        return LogRatio(mean, math.hypot(least_error, offset_sd), len(blocks) - 1, rounds)
    se = spread / math.sqrt(rounds) * widening(lag1(means), len(blocks))
    return LogRatio(mean, math.hypot(se, offset_sd), len(blocks) - 1, rounds)


def of_samples(
    candidate: Floats, reference: Floats, *, tick_seconds: float = 0.0, offset_sd: float = 0.0
) -> LogRatio | None:
    """The log ratio of both arms' net latencies in seconds, (rounds, samples); None where they hold none.

    That is so where there are fewer than two rounds, or samples that are no positive number.
    """
    if len(candidate) < FEWEST or invalid_samples("candidate", candidate) or invalid_samples("reference", reference):
        return None
    least = resolution(candidate, reference, tick_seconds)
    return of_log_ratios(log_ratios(candidate, reference), least_error=least, offset_sd=offset_sd)
