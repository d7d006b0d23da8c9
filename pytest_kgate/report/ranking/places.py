"""Places of candidates whose speeds are known up to an interval: who can't be told apart shares places. Pure.

A candidate that raced against the reference in a race of its own has a ratio that holds the noise of both of its
arms, drawn independently of the other races. The difference of two log speedups therefore has the sum of their
variances, and is compared with Student's t (Welch). All pairs are held to one level together (Bonferroni): that any two
equal candidates of a table are ranked apart has a chance of at most 1 - confidence. A candidate's places are then those
that are left by who is surely faster and who is surely slower (Klein, Wright and Wieczorek, J. R. Stat. Soc. C 69,
2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_kgate.statistics.intervals.mean_of_logs import mean_of_logs
from pytest_kgate.statistics.intervals.welch import welch_freedom

CONFIDENCE = 0.95
"""Of all comparisons of a table together."""


@dataclass(frozen=True)
class SharedRounds:
    """What a candidate's own rounds were, where others were raced in the same ones."""

    race: str
    """Tells this race from others."""
    log_latencies: tuple[float, ...]
    """Of each round."""


@dataclass(frozen=True)
class Estimate:
    """An estimate of a log speedup, with its standard error and degrees of freedom."""

    mean: float
    se: float
    """Its standard error; 0 where it is exact."""
    freedom: float
    """Degrees of freedom of that error."""
    shared: SharedRounds | None = None
    """None where the candidate was raced without others."""

    @classmethod
    def of_interval(cls, low: float, estimate: float, high: float, confidence: float, freedom: float) -> Estimate:
        """Make the estimate from the interval of a latency ratio, candidate over reference.

        The interval of a look at an early time is wider than Student's; the error that is read from it is then too
        large, and fewer candidates are told apart than could be.
        """
        half = (math.log(high) - math.log(low)) / 2
        return cls(-math.log(estimate), half / _critical(confidence, freedom), freedom)

    def ends(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The ends of the speedup's own interval."""
        half = self.se * _critical(confidence, self.freedom)
        return math.exp(self.mean - half), math.exp(self.mean + half)


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The estimate of the geometric mean of independent speedups."""
    mean, se = mean_of_logs([one.mean for one in estimates], [one.se for one in estimates])
    return Estimate(mean, se, _freedom(estimates))


def surely_faster(one: Estimate, other: Estimate, comparisons: int = 1, confidence: float = CONFIDENCE) -> bool:
    """Whether `one` is the faster of two, at this confidence in all of so many comparisons."""
    distance, se, freedom = _difference(one, other)
    level = 1 - (1 - confidence) / comparisons
    return distance > se * _critical(level, freedom)


def _difference(one: Estimate, other: Estimate) -> tuple[float, float, float]:
    """By how much the log speedup of `one` is above the other's, with standard error and degrees of freedom.

    Of two that shared rounds it is paired, round by round: the reference, and what a round did to both, are not in it.
    """
    if one.shared is not None and other.shared is not None and one.shared.race == other.shared.race:
        from pytest_kgate.statistics.intervals.fixed_rounds import of_log_ratios  # here, since it needs numpy

        pairs = zip(one.shared.log_latencies, other.shared.log_latencies, strict=True)
        return of_log_ratios([theirs - mine for mine, theirs in pairs])[:3]
    return one.mean - other.mean, math.hypot(one.se, other.se), _freedom((one, other))


def places(estimates: Sequence[Estimate], comparisons: int | None = None) -> list[tuple[int, int]]:
    """The first and the last place that each can have, from 1, in the order given.

    `comparisons` is the number of pairs that are held to the level together; by default all pairs of these.
    """
    count = len(estimates)
    pairs = max(1, count * (count - 1) // 2) if comparisons is None else comparisons
    found = []
    for one in estimates:
        faster = sum(surely_faster(other, one, pairs) for other in estimates)
        slower = sum(surely_faster(one, other, pairs) for other in estimates)
        found.append((1 + faster, count - slower))
    return found


def _freedom(estimates: Sequence[Estimate]) -> float:
    return welch_freedom([one.se**2 for one in estimates], [one.freedom for one in estimates])


def _critical(confidence: float, freedom: float) -> float:
    """Two-sided, of Student's t."""
    from scipy import special

    return float(special.stdtrit(freedom, (1 + confidence) / 2))
