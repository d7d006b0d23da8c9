"""A `speed_of_light` gate of one call: its floor, known before the race, and its limit in the record, made after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.bench.race.speed_of_light import kept
from pytest_kgate.bench.race.speed_of_light.judge import LightDemand
from pytest_kgate.bench.race.speed_of_light.judge import LightJudgement
from pytest_kgate.bench.race.speed_of_light.rates import GIVE_BOTH
from pytest_kgate.bench.race.speed_of_light.rates import MeasuredRates
from pytest_kgate.bench.race.speed_of_light.rates import floor_of
from pytest_kgate.statistics.gates import SpeedOfLightGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.wording import percent

if TYPE_CHECKING:
    from pytest_kgate.bench.race.speed_of_light.rates import MeasuredFloor
    from pytest_kgate.bench.request import Request
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.problems.problem import Problem
    from pytest_kgate.report.record.facts.limits import LimitFacts
    from pytest_kgate.report.record.facts.limits import LimitVerdict
    from pytest_kgate.report.record.facts.limits import RooflineFacts
    from pytest_kgate.statistics.gate_facts import IntervalFacts

_VARIED = 0.1
"""Spread of a rate's rounds above which a reader is told."""


@dataclass(frozen=True)
class LightAsked:
    """A `speed_of_light` gate, with all that is known of it before the race."""

    gate: SpeedOfLightGate
    rates: MeasuredRates | None
    demand: LightDemand | None
    """None where the problem has no floor."""
    why_not: str = ""
    """Why it has none, in a sentence."""

    def roofline(self) -> RooflineFacts | None:
        """The floor for the record; None where there is none."""
        return None if self.demand is None or self.rates is None else _facts(self.demand.floor, self.rates)

    def limit(self, judged: LightJudgement | None, invalid: str | None) -> LimitFacts:
        """The limit for the record; `invalid` says why the race is not to be trusted, where it is not."""
        why_not = self.why_not or invalid or (judged.reason if judged and judged.verdict is Verdict.INVALID else "")
        share = None if why_not or judged is None else judged.share
        interval: IntervalFacts | None = None
        if share is not None:
            interval = {
                **share.to_dict(),
                "low": 100 * share.low,
                "estimate": 100 * share.estimate,
                "high": 100 * share.high,
            }
        verdict: LimitVerdict = "NOT MEASURED"
        if not why_not and judged is not None and judged.verdict.value != "INVALID":
            verdict = judged.verdict.value
        return {
            "kind": "speed_of_light",
            "name": "speed_of_light",
            "sense": ">=",
            "bound": 100 * self.gate.bound,
            "unit": "%",
            "value": None if share is None else 100 * share.estimate,
            "interval": interval,
            "kernel": "",
            "verdict": verdict,
            "reason": why_not or ("" if judged is None else judged.reason),
        }

    def warnings(self, judged: LightJudgement | None, cache: str) -> list[str]:
        """What a reader of the record must know of the floor."""
        if self.demand is None or self.rates is None:
            return []
        floor, found = self.demand.floor, list[str]()
        if self.rates.disturbed:
            found.append(f"the measured roofline may be too low, accepted as asked: {self.rates.disturbed}")
        elif floor.spread > _VARIED:
            found.append(
                f"the rate behind the measured roofline varied by {percent(floor.spread)} as it was measured, and may "
                "be too low: `kgate roofline --again` measures it anew, while the machine does nothing else"
            )
        if floor.left_out:
            found.append(f"the measured roofline is of bytes alone: {floor.left_out}")
        if judged is not None and judged.share is not None and judged.share.low > 1:
            found.append(f"the candidate is faster than the measured roofline, {floor.demand}: {_faster(floor, cache)}")
        return found


def known_roofline(problem: Problem, environment: Mapping[str, Any], cache: str) -> RooflineFacts | None:
    """The floor of a problem whose speed of light nobody asks for; None unless the device's rates are kept already."""
    if not problem.flops and not problem.bytes:
        return None
    rates = kept.lookup(kept.identity_of(environment))
    floor = None if rates is None else floor_of(problem, rates, cache, _tf32())
    return None if rates is None or floor is None or isinstance(floor, str) else _facts(floor, rates)


def _facts(floor: MeasuredFloor, rates: MeasuredRates) -> RooflineFacts:
    return {
        "floor_seconds": floor.seconds,
        "set_by": floor.set_by,
        "demand": floor.demand,
        "from_cache": floor.from_cache,
        "left_out": floor.left_out,
        "measured": rates.date,
    }


def _tf32() -> bool:
    from pytest_kgate.bench.race.speed_of_light.tf32 import rounds_to_tf32  # here, since it imports PyTorch

    return rounds_to_tf32()


def light_of(request: Request, device: Device) -> LightAsked | None:
    """What a request demands, with its floor; None where nothing is, or this process does not judge it.

    Measures what the device attains where that is not kept yet: nobody else may use the device meanwhile. Raises
    `KgateError` where it can't be timed.
    """
    gate, problem = request.light, request.problem
    if gate is None or not request.races or request.process is not None:
        return None
    if not problem.flops and not problem.bytes:
        return LightAsked(gate, None, None, f"{problem.name} says neither its FLOPs nor its bytes{GIVE_BOTH}")
    accepts = request.settings.foreign_load == "warn"
    rates = kept.rates_of(device, accept_disturbed=accepts)
    if rates.disturbed and not accepts:
        why_not = f"what this device attains could not be measured, since {rates.disturbed} meanwhile"
        return LightAsked(gate, rates, None, f"{why_not}; --kgate-foreign-load warn accepts that")
    floor = floor_of(problem, rates, request.settings.cache, _tf32())
    if isinstance(floor, str):
        return LightAsked(gate, rates, None, floor)
    return LightAsked(gate, rates, LightDemand(gate, floor))


def _faster(floor: MeasuredFloor, cache: str) -> str:
    """What may be behind a latency below the floor."""
    if floor.set_by == "flops":
        return "it computes less than Problem(flops=...) says, or in a faster type"
    if cache == "hot":
        return "with a hot cache, bytes may come from nearer caches than those of a copy do"
    return "it moves fewer bytes than Problem(bytes=...) says, or faster than a copy does"
