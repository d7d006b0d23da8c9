"""Limits judged again: of resources and counters by the recorded value, of the speed of light by the samples."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate.bench.race.speed_of_light.judge import LightDemand
from pytest_kgate.bench.race.speed_of_light.judge import judge_light
from pytest_kgate.bench.race.speed_of_light.judge import judge_light_processes
from pytest_kgate.bench.race.speed_of_light.rates import MeasuredFloor
from pytest_kgate.build.compiler.arch import of_capability
from pytest_kgate.profile.nsight.aggregate import arm_counters
from pytest_kgate.profile.nsight.bounds import UNITS
from pytest_kgate.profile.nsight.bounds import Bound
from pytest_kgate.profile.nsight.metrics.table import METRICS
from pytest_kgate.profile.nsight.metrics.table import is_raw
from pytest_kgate.statistics.gate_facts import LOOKS
from pytest_kgate.statistics.gates import SpeedOfLightGate
from pytest_kgate.validation.receipts.judged_again.compare import differences

if TYPE_CHECKING:
    from pytest_kgate.bench.race.speed_of_light.judge import LightJudgement
    from pytest_kgate.report.record.facts.limits import LimitFacts
    from pytest_kgate.report.record.facts.limits import RooflineFacts
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.statistics.judge_processes import Run


def of_limits(record: Record, runs: Sequence[Run]) -> Iterator[str]:
    """What of the limits does not follow from the record."""
    for index, limit in enumerate(record.get("limits", ())):
        path, verdict = f"limits[{index}]", limit["verdict"]
        if (verdict == "PASS") is bool(limit["reason"]):
            yield f"{path} is {verdict} {'for a reason' if limit['reason'] else 'without a reason'}"
        if limit["kind"] == "speed_of_light":
            yield from _of_light(path, record, limit, runs)
        elif limit["value"] is None:
            if verdict != "NOT MEASURED":
                yield f"{path} is {verdict} without a value"
        else:
            value, bound = limit["value"], limit["bound"]
            holds = value <= bound if limit["sense"] == "<=" else value >= bound
            if verdict != ("PASS" if holds else "FAIL"):
                yield f"{path} is {verdict}, and {value:g} {limit['sense']} {bound:g} is {str(holds).lower()}"
            if limit["kind"] == "metrics":
                yield from _of_metric(path, record, limit)


def of_counters(record: Record) -> Iterator[str]:
    """What of the metrics does not follow from the counters of the launches, where all of these are recorded."""
    counters, gpu = record.get("counters"), record["environment"].get("gpu") or {}
    capability = re.fullmatch(r"(\d{1,2})\.(\d)", str(gpu.get("capability")))
    if not counters or capability is None:
        return
    arch = of_capability(int(capability[1]), int(capability[2]))
    for name, arm in (("candidate", counters["candidate"]), ("reference", counters["reference"])):
        if arm is None or arm["launch_count"] != len(arm["launches"]):
            continue
        found = arm_counters(arm["launches"], arch, tuple(filter(is_raw, arm["metrics"])))["metrics"]
        for metric, said in arm["metrics"].items():
            if metric in found:  # another version may have others
                value = found[metric]["value"]
                yield from differences(f"counters.{name}.metrics.{metric}.value", said["value"], value, "launches")


def _of_metric(path: str, record: Record, limit: LimitFacts) -> Iterator[str]:
    """Its value is what was counted, in its own unit."""
    counters, unit = record.get("counters"), limit["unit"]
    arm = counters["candidate"] if counters else None
    name = limit["name"]
    if not is_raw(name) and name not in METRICS:
        yield f"{path} is of {name!r}, which is no metric"
        return
    metric = Bound(name, limit["sense"], limit["bound"], unit).metric
    if arm is None or metric not in arm["metrics"]:
        yield f"{path} has a value, and its {metric} was not counted"
        return
    own = {"x": record["problem"]["bytes"] or 0.0, "µs": UNITS["us"][1]}
    factor = own.get(unit, UNITS.get(unit, ("", 1.0))[1])
    counted = arm["metrics"][metric]["value"]
    if not math.isclose((limit["value"] or 0.0) * factor, counted, rel_tol=1e-8):
        yield f"{path}.value is {limit['value']:g} {unit}, and its {metric} was counted as {counted:g}"


def _of_light(path: str, record: Record, limit: LimitFacts, runs: Sequence[Run]) -> Iterator[str]:
    roofline, timing = record.get("roofline"), record["timing"]
    if limit["verdict"] == "NOT MEASURED":
        return
    if roofline is None or timing is None or not runs:
        yield f"{path} is {limit['verdict']}, and there is no roofline or race that it was judged on"
        return
    confidence = limit["interval"]["confidence"] if limit["interval"] else 0.95
    demand = LightDemand(SpeedOfLightGate(limit["bound"] / 100, confidence), _floor(roofline))
    found = _judged(demand, runs, timing["tick_seconds"], several=bool(timing.get("processes")))
    share = found.share
    rule = {
        "verdict": found.verdict.value,
        "value": None if share is None else 100 * share.estimate,
        "interval": share
        and {
            **share.to_dict(),
            "low": 100 * share.low,
            "estimate": 100 * share.estimate,
            "high": 100 * share.high,
        },
    }
    yield from differences(path, {name: limit[name] for name in rule}, rule)  # type: ignore[literal-required]


def _judged(demand: LightDemand, runs: Sequence[Run], tick: float, *, several: bool) -> LightJudgement:
    offset = runs[0].offset_sd
    if several:
        return judge_light_processes(demand, [run.candidate for run in runs], tick, offset)
    samples = runs[0].candidate

    def at(count: int, *, final: bool) -> LightJudgement | None:
        return judge_light(demand, samples[:count], final=final, tick_seconds=tick, offset_sd=offset)

    looks = (judged for look in LOOKS if look <= len(samples) and (judged := at(look, final=False)) is not None)
    judged = next(looks, None) or at(len(samples), final=True)
    assert judged is not None  # a final call always judges
    return judged


def _floor(roofline: RooflineFacts) -> MeasuredFloor:
    return MeasuredFloor(
        seconds=roofline["floor_seconds"],
        set_by=roofline["set_by"],
        demand=roofline["demand"],
        from_cache=roofline["from_cache"],
        spread=0.0,
        left_out=roofline["left_out"],
    )
