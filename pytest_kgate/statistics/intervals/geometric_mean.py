"""The geometric mean of latency ratios that were each measured in a race of its own, with its interval. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_kgate.statistics.estimates import Interval
from pytest_kgate.statistics.intervals.mean_of_logs import mean_of_logs


def geometric_mean(ratios: Sequence[Interval]) -> Interval:
    """The geometric mean, at the largest confidence that all its ratios have.

    Half-widths of log ratios are added as standard errors are, in squares: races are independent, and the half-width of
    each is its standard error times the critical value of the look at which it stopped, never less than that of a
    single look. The mean of many errs less often than that, for it is nearer to normal than each of them.

    Raises ValueError where there are no ratios.
    """
    logs = [math.log(one.estimate) for one in ratios]
    mean, below = mean_of_logs(logs, [math.log(one.estimate / one.low) for one in ratios])
    _, above = mean_of_logs(logs, [math.log(one.high / one.estimate) for one in ratios])
    confidence = min(one.confidence for one in ratios)
    return Interval.of_logs(mean - below, mean, mean + above, confidence, "geometric-mean")
