"""Where a series seems to have changed its level: advice for a reader, and never a verdict.

PELT (Killick, Fearnhead and Eckley, JASA 107, 2012) on the logarithms of the ratios, by the package `ruptures`, which
the extra `history` brings. Ratios of different sessions are measured apart: no error rate is promised of any of this.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from pytest_kgate.report import format as text
from pytest_kgate.report.together.history.point import Point
from pytest_kgate.report.together.history.series import day

_FEWEST = 4
"""Points of a level: fewer are outliers."""

_MOST = 400
"""Points that are looked at, the latest: the time grows with their square where nothing changes."""

_PENALTY = 3.0
"""Times log(n) times the variance of the noise, for each change: the usual 2 finds some in noise that is not quite
Gaussian."""

_LEAST = 0.003
"""As a share of the ratio: smaller shifts are told by nobody's kernel from another day."""


@dataclass(frozen=True)
class Change:
    """A point of a series from which on the level is another one."""

    index: int
    """Of the first point after it."""
    line: str
    """`level 0.655 until 3f2a..., 0.612 from 9c1d... on (-6.6 %)`."""


def can_look() -> bool:
    """Whether the package that finds changes, ruptures, is installed."""
    return importlib.util.find_spec("ruptures") is not None


def changes_of(raced: Sequence[Point]) -> list[Change]:
    """The changes of these points, all with a ratio; none where there are too few of them."""
    before = max(0, len(raced) - _MOST)
    raced = raced[before:]
    ratios = [point.ratio for point in raced if point.ratio]
    if len(ratios) < 2 * _FEWEST or len(ratios) < len(raced):
        return []
    import numpy as np
    import ruptures

    signal = np.log(np.array(ratios))
    # By the steps from point to point, which changes of level, being few, hardly move.
    steps = np.abs(np.diff(signal))
    noise = max(float(np.median(steps)) / 0.954, 1e-6)
    found = ruptures.Pelt(model="l2", min_size=_FEWEST, jump=1).fit(signal.reshape(-1, 1))
    ends = found.predict(pen=_PENALTY * math.log(len(signal)) * noise**2)
    starts = [0, *ends[:-1]]
    levels = [median(ratios[start:end]) for start, end in zip(starts, ends, strict=True)]
    return [
        Change(before + start, _line(raced[start - 1], raced[start], levels[number - 1], levels[number]))
        for number, start in enumerate(starts)
        if number and abs(levels[number] / levels[number - 1] - 1) > _LEAST
    ]


def _line(before: Point, after: Point, old: float, new: float) -> str:
    decimals = text.decimals_for(old, new)
    until, since = (point.commit[:10] if point.commit else day(point) for point in (before, after))
    was, now, moved = text.ratio(old, decimals), text.ratio(new, decimals), f"{100 * (new / old - 1):+.1f} %"
    if until == since and not after.commit:
        return f"level {was}, then {now} within {since} ({moved})"
    return f"level {was} until {until}, {now} from {since} on ({moved})"
