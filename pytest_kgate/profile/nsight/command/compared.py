"""Counters of candidate and reference side by side, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_kgate.profile.nsight.metrics.table import GROUPS
from pytest_kgate.report.format import seconds
from pytest_kgate.report.format import significant

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.counters import ArmCounters
    from pytest_kgate.report.record.facts.counters import CountersFacts
    from pytest_kgate.report.record.facts.counters import MetricFacts

_LARGE = 1e6
"""Counts from here on are rounded to three digits, and those from a thousand on to whole numbers."""
_WHOLE = 1e3

_KIB, _MIB, _GIB = 2**10, 2**20, 2**30


def compared(counters: CountersFacts, *, everything: bool = False) -> Iterator[str]:
    """A line for each metric that says something of an arm: its values, and their ratio.

    With `everything` also those that are 0 in both arms, and what each means.
    """
    candidate, reference = counters["candidate"], counters["reference"]
    widest = max(len(metric.name) for metrics in GROUPS.values() for metric in metrics)
    yield f"{'':{widest + 2}}{'candidate':>12}  {'reference':>12}  {'ratio':>7}"
    for group, metrics in GROUPS.items():
        lines = []
        for metric in metrics:
            ours, theirs = _of(candidate, metric.name), _of(reference, metric.name)
            idle = not any(one is not None and one["value"] for one in (ours, theirs))
            if (ours is None and theirs is None) or (idle and not everything):
                continue
            values = f"{_shown(ours):>12}  {_shown(theirs):>12}  {_ratio(ours, theirs):>7}"
            meaning = f"  {metric.meaning}" if everything else ""
            lines.append(f"  {metric.name:{widest}}{values}{meaning}".rstrip())
        if lines:
            yield f"{group}:"
            yield from lines


def _of(arm: ArmCounters | None, name: str) -> MetricFacts | None:
    return None if arm is None else arm["metrics"].get(name)


def _shown(facts: MetricFacts | None) -> str:
    """`64.8 %`, `4.2 MiB`, `6.78 us`, `1.83 GHz`, `12,473`; `-` where it is not known."""
    if facts is None:
        return "-"
    value, unit = facts["value"], facts["unit"]
    if unit == "%":
        return f"{value:.1f} %"
    if unit == "bytes":
        return _bytes(value)
    if unit == "seconds":
        return seconds(value)
    if unit == "hertz":
        return f"{value / 1e9:.2f} GHz"
    if value >= _LARGE:
        return f"{value:.3g}"
    return f"{value:,.0f}" if value >= _WHOLE or float(value).is_integer() else significant(value)


def _bytes(value: float) -> str:
    for name, size in (("GiB", _GIB), ("MiB", _MIB), ("KiB", _KIB)):
        if value >= size:
            return f"{significant(value / size)} {name}"
    return f"{value:.0f} B"


def _ratio(ours: MetricFacts | None, theirs: MetricFacts | None) -> str:
    if ours is None or theirs is None or not theirs["value"] or not math.isfinite(theirs["value"]):
        return ""
    ratio = ours["value"] / theirs["value"]
    return f"{ratio:.2f}x" if ratio < _WHOLE else f"{ratio:.2g}x"
