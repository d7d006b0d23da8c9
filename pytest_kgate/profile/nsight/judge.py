"""Bounds against what was measured: one limit a bound."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_kgate.profile.nsight.aggregate import deciding_kernel
from pytest_kgate.profile.nsight.bounds import Bound
from pytest_kgate.profile.nsight.metrics.table import METRICS
from pytest_kgate.profile.nsight.metrics.table import architecture
from pytest_kgate.profile.nsight.metrics.table import is_raw

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.counters import ArmCounters
    from pytest_kgate.report.record.facts.counters import CountersFacts
    from pytest_kgate.report.record.facts.limits import LimitFacts


def judge(bounds: Iterable[Bound], counters: CountersFacts, ideal_bytes: float | None, arch: str) -> list[LimitFacts]:
    """What became of each bound, on the candidate's counters.

    `ideal_bytes` are the problem's own (`Problem.bytes`), and `arch` the architecture of the GPU: `sm_90a`.
    """
    return [_judged(bound, counters, ideal_bytes, arch) for bound in bounds]


def _judged(bound: Bound, counters: CountersFacts, ideal_bytes: float | None, arch: str) -> LimitFacts:
    facts: LimitFacts = {
        "kind": "metrics",
        "name": bound.name,
        "sense": bound.sense,
        "bound": bound.limit,
        "unit": bound.unit or ("" if is_raw(bound.name) else METRICS[bound.name].unit),
        "value": None,
        "interval": None,
        "kernel": "",
        "verdict": "NOT MEASURED",
        "reason": "",
    }
    arm = counters["candidate"]
    if counters["state"] == "not measured" or arm is None:
        return {**facts, "reason": counters["reason"] or "The candidate's counters were not read."}
    lacking = _lacking(bound, arch)
    if lacking:
        return {**facts, "reason": lacking}
    if bound.metric not in arm["metrics"]:
        return {**facts, "reason": _missing(bound, arm)}
    if bound.unit == "x" and not ideal_bytes:
        return {**facts, "reason": "The problem does not say how many bytes it must move: give it Problem(bytes=...)."}
    unit = ideal_bytes if bound.unit == "x" and ideal_bytes else bound.factor
    value = arm["metrics"][bound.metric]["value"] / unit
    passed = value <= bound.limit if bound.sense == "<=" else value >= bound.limit
    facts = {**facts, "value": value, "kernel": deciding_kernel(bound.metric, arm, arch)}
    if passed:
        return {**facts, "verdict": "PASS"}
    return {**facts, "verdict": "FAIL", "reason": _failure(bound, value, arm)}


def _failure(bound: Bound, value: float, arm: ArmCounters) -> str:
    """Why a bound does not hold, and what a small grid has to do with it."""
    where = "above" if bound.sense == "<=" else "below"
    said = f"{bound.name} is {bound.shown(value)}, {where} {bound.shown(bound.limit)}"
    return f"{said}{small_grid(bound.metric, arm)}."


def small_grid(name: str, arm: ArmCounters) -> str:
    """A remark, with the comma before it, on a share of the whole launch where the grid leaves room on the SMs."""
    metrics = arm["metrics"]
    row = METRICS.get(name)
    of_the_launch = row is not None and any("_elapsed" in one for one in row.raw)
    if not of_the_launch or "waves" not in metrics or metrics["waves"]["value"] >= 1:
        return ""
    remark = f"; the grid is {metrics['waves']['value']:.2g} waves, so SMs have room left"
    active = metrics.get(f"{name}_active")
    return f"{remark} (while an SM has a warp it is {active['value']:.3g} %: {name}_active)" if active else remark


def _lacking(bound: Bound, arch: str) -> str:
    """Why a GPU of this architecture can't measure it; empty where it can."""
    if is_raw(bound.name):
        return ""
    row, here = METRICS[bound.metric], architecture(arch)
    others = row.architectures
    if here in others:
        return ""
    return f"{here} has no {bound.name}; {', '.join(others)} {'have' if others[1:] else 'has'} it."


def _missing(bound: Bound, arm: ArmCounters) -> str:
    """Why a metric that exists has no value."""
    if not arm["launch_count"]:
        return "The candidate launched no kernel."
    if is_raw(bound.name):
        return f"Nsight Compute gave no {bound.name}; names (`ncu --query-metrics`) mostly end in .sum or .avg."
    row = METRICS[bound.metric]
    for one in (row.weight, *row.ratio[1:]):
        if one in arm["metrics"] and arm["metrics"][one]["value"] == 0:
            return f"{bound.name} says nothing of these kernels: their {one} are 0."
    return f"Nsight Compute gave no value of {bound.name} for these kernels."
