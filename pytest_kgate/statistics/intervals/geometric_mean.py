"""The geometric mean of latency ratios that were each measured in a race of its own, with its interval. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_kgate.statistics.estimates import Interval


def geometric_mean(ratios: Sequence[Interval]) -> Interval:
    """The geometric mean, at the largest confidence that all its ratios have.

    Half-widths of log ratios are added as standard errors are, in squares: races are independent, and the half-width of
    each is its standard error times the critical value of the look at which it stopped, never less than that of a
    single look. The mean of many errs less often than that, for it is nearer to normal than each of them.

    Raises ValueError where there are no ratios.
    """
    if not ratios:
        raise ValueError("no ratios have no mean")
    count = len(ratios)
    mean = math.fsum(math.log(one.estimate) for one in ratios) / count
    below, above = (
        math.sqrt(math.fsum(math.log(end / middle) ** 2 for end, middle in ends)) / count
        for ends in ([(one.low, one.estimate) for one in ratios], [(one.high, one.estimate) for one in ratios])
    )
    confidence = min(one.confidence for one in ratios)
    return Interval.of_logs(mean - below, mean, mean + above, confidence, "geometric-mean")
