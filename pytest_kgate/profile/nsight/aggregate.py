"""The counters of a call: those of its launches, combined as the table of metrics says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Sequence
from typing import cast

from pytest_kgate.profile.nsight.metrics.metric import Combine
from pytest_kgate.profile.nsight.metrics.metric import Metric
from pytest_kgate.profile.nsight.metrics.table import METRICS
from pytest_kgate.profile.nsight.metrics.table import architecture
from pytest_kgate.profile.nsight.metrics.table import base_unit
from pytest_kgate.profile.nsight.metrics.table import written
from pytest_kgate.report.record.facts.counters import ArmCounters
from pytest_kgate.report.record.facts.counters import LaunchCounters
from pytest_kgate.report.record.facts.counters import MetricFacts

KEPT_LAUNCHES = 16


def arm_counters(launches: Sequence[LaunchCounters], arch: str, raw: Sequence[str] = ()) -> ArmCounters:
    """All launches of one call of an arm, on a GPU of this architecture.

    Metrics that were not measured for a launch that counts are left out. `raw` are names of Nsight Compute's that were
    asked for; `combine_raw` says how they are combined. Of each launch, these and the table's are kept.
    """
    where = architecture(arch)
    wanted = {*raw, *(name for metric in METRICS.values() for name in metric.on(where))}
    kept: list[LaunchCounters] = [
        {**one, "metrics": {name: value for name, value in one["metrics"].items() if name in wanted}}
        for one in launches[:KEPT_LAUNCHES]
    ]
    combined = {name: over_launches(metric, launches, where) for name, metric in METRICS.items()}
    facts: dict[str, MetricFacts] = {
        name: {"value": value, "unit": METRICS[name].unit, "raw": written(METRICS[name], where)}
        for name, value in combined.items()
        if value is not None
    }
    for name in raw:
        value = combine_raw(name, launches)
        if value is not None:
            facts[name] = {"value": value, "unit": base_unit(name), "raw": name}
    return {"launches": kept, "launch_count": len(launches), "metrics": facts}


def over_launches(metric: Metric, launches: Sequence[LaunchCounters], arch: str) -> float | None:
    """One value of a metric for all launches of a call; None where it is not known."""
    if metric.ratio:
        above, below = (over_launches(METRICS[one], launches, arch) for one in metric.ratio)
        return metric.scale * above / below if above is not None and below else None
    weight = METRICS[metric.weight] if metric.weight else None
    return _combined(
        [value_of(metric, one["metrics"], arch) for one in launches],
        metric.combine,
        [1.0 if weight is None else value_of(weight, one["metrics"], arch) for one in launches],
    )


def combine_raw(name: str, launches: Sequence[LaunchCounters]) -> float | None:
    """The same of a raw name: sums are added up; of maxima, and of what a launch is given, the largest counts.

    All else (averages, shares, ratios, rates) is the mean by the launches' durations.
    """
    duration = METRICS["duration"].raw[0]
    return _combined(
        [one["metrics"].get(name) for one in launches],
        _how_raw(name),
        [one["metrics"].get(duration) for one in launches],
    )


def _how_raw(name: str) -> Combine:
    _, _, rest = name.partition(".")
    if rest in ("sum", "min", "max"):
        return cast("Combine", rest)
    return "max" if name.startswith(("launch__", "device__")) else "mean"


def deciding_kernel(name: str, arm: ArmCounters, arch: str) -> str:
    """The kernel of the launch that decides a metric by its largest or smallest value; empty where none does."""
    metric = METRICS.get(name) or Metric(name, "", (name,), "", _how_raw(name))
    if arm["launch_count"] < 2 or metric.combine not in ("max", "min"):
        return ""
    value, where = arm["metrics"][name]["value"], architecture(arch)
    return next((one["kernel"] for one in arm["launches"] if value_of(metric, one["metrics"], where) == value), "")


def value_of(metric: Metric, measured: Mapping[str, float], arch: str) -> float | None:
    """The metric's value in one launch: the sum of its raw ones; None where one of them is missing."""
    raw = metric.on(arch)
    values = [measured[one] for one in raw if one in measured]
    return sum(values) if raw and len(values) == len(raw) else None


def _combined(values: Sequence[float | None], how: Combine, weights: Sequence[float | None]) -> float | None:
    """One value of several; None where a launch that counts has none.

    A launch of weight 0 has no part in a mean: a kernel that asks nothing of a cache has no hit rate.
    """
    if how == "mean":
        if len(values) == 1 and weights[0] != 0:
            return values[0]  # whatever it weighs
        if any(weight is None for weight in weights):
            return None
        pairs = [(value, weight) for value, weight in zip(values, weights, strict=True) if weight]
        total = math.fsum(weight for _, weight in pairs if weight is not None)
        if not pairs or any(value is None for value, _ in pairs):
            return None
        return math.fsum(value * weight for value, weight in pairs if value is not None and weight) / total
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return math.fsum(known) if how == "sum" else max(known) if how == "max" else min(known)
