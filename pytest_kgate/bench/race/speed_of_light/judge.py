"""Judge a `speed_of_light` gate on the candidate's rounds: what share of the measured roofline it reaches. Pure.

The interval is that of a latency ratio, with the floor in the reference's place: looks, blocks and critical values are
those of `statistics/judge.py`. What slows both arms down does not cancel in it, as the reference's rounds take no part.
A latency may stay for a dozen rounds at what it leaves later (a clock of two speeds), and few rounds do not show that.
So near the bound, all rounds are taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_kgate.statistics.estimates import Floats
from pytest_kgate.statistics.estimates import Interval
from pytest_kgate.statistics.estimates import invalid_samples
from pytest_kgate.statistics.gate_facts import LOOKS
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import SpeedOfLightGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.judge import measure
from pytest_kgate.statistics.judge_processes import Run
from pytest_kgate.statistics.judge_processes import judge_processes
from pytest_kgate.statistics.wording import counted
from pytest_kgate.statistics.wording import seconds
from pytest_kgate.statistics.wording import significant

if TYPE_CHECKING:
    from pytest_kgate.bench.race.speed_of_light.rates import MeasuredFloor


EARLY_MARGIN = 0.1
"""Before the last round, a verdict takes an interval that is further from the bound than this, as a share of it. With
clocks that jump by 8 % and stay for five rounds, gates on their bound erred in 15 % of races to either side without it,
and in 3 % with it."""


_SET_BY = {"flops": "FLOPs", "bytes": "bytes"}


@dataclass(frozen=True)
class LightDemand:
    """What a `speed_of_light` gate demands of one race."""

    gate: SpeedOfLightGate
    floor: MeasuredFloor


@dataclass(frozen=True)
class LightJudgement:
    """The verdict on one `speed_of_light` gate, and the interval that it rests on."""

    demand: LightDemand
    verdict: Verdict
    reason: str
    """One sentence; empty on PASS."""
    rounds: int
    share: Interval | None = None
    """Of the roofline: the floor over the latency; None before the first look."""


def judge_light(
    demand: LightDemand,
    candidate: Floats,
    *,
    final: bool = False,
    tick_seconds: float = 0.0,
    offset_sd: float = 0.0,
) -> LightJudgement | None:
    """The judgement after these rounds, net seconds of shape (rounds, samples); None where more are needed.

    `final`, `tick_seconds` and `offset_sd` are as in `judge_rounds`: decided only at looks, and a tick where all blocks
    agree exactly.
    """
    rounds = len(candidate)
    broken = invalid_samples("candidate", candidate)
    if broken:
        return LightJudgement(demand, Verdict.INVALID, broken, rounds)
    final = final or rounds >= LOOKS[-1]
    if not final and rounds not in LOOKS:
        return None
    floor = np.full_like(candidate, demand.floor.seconds)
    ratio = measure(candidate, floor, confidence=demand.gate.confidence, offset_sd=offset_sd)
    if ratio is None:
        first = LOOKS[0]
        what = f"{counted(rounds, 'round')} of the {first} were taken that its first look needs: raise the budget"
        return LightJudgement(demand, Verdict.INCONCLUSIVE, what, rounds)
    share = _share(ratio, tick_seconds / float(np.median(candidate)))
    judged = _judgement(demand, share, rounds, margin=1.0 if final else 1 + EARLY_MARGIN)
    return judged if final or judged.verdict is not Verdict.INCONCLUSIVE else None


def judge_light_processes(
    demand: LightDemand, runs: Sequence[Floats], tick_seconds: float, offset_sd: float = 0.0
) -> LightJudgement:
    """The judgement on the rounds of several fresh processes, by a t interval over their mean log latencies.

    `offset_sd` is that of an offset that they share.
    """
    rounds = sum(len(run) for run in runs)
    gate = SpeedGate(1 / demand.gate.bound, confidence=demand.gate.confidence)
    against = [Run(run, np.full_like(run, demand.floor.seconds), offset_sd) for run in runs]
    found, _ = judge_processes(gate, against, tick_seconds)
    if found.ratio is None:
        return LightJudgement(demand, Verdict.INVALID, found.reason, rounds)
    return _judgement(demand, _share(found.ratio, 0.0), rounds, processes=len(runs))


def bears(judged: LightJudgement, too_low: float, too_high: float) -> bool:
    """Whether the verdict stays where the log of the latency may read so much too low, or too high."""
    share, bound = judged.share, judged.demand.gate.bound
    if share is None or judged.verdict is Verdict.INCONCLUSIVE:
        return judged.verdict is Verdict.INCONCLUSIVE  # it claims nothing
    if judged.verdict is Verdict.PASS:
        return share.low * math.exp(-too_low) > bound
    return share.high * math.exp(too_high) < bound


def _share(ratio: Interval, tick: float) -> Interval:
    """The inverse of the latency's interval in floors; one of no width gets that of the timer's tick, a share of it."""
    widening = math.exp(tick) if ratio.low == ratio.high else 1.0
    low, high = 1 / (ratio.high * widening), widening / ratio.low
    return Interval(low, 1 / ratio.estimate, high, ratio.confidence, ratio.method)


def _judgement(
    demand: LightDemand, share: Interval, rounds: int, *, margin: float = 1.0, processes: int = 1
) -> LightJudgement:
    """PASS above the bound, FAIL below it; an interval that is off it by less than `margin` decides neither."""
    bound, floor = demand.gate.bound, demand.floor
    if share.low > bound * margin:
        return LightJudgement(demand, Verdict.PASS, "", rounds, share)
    ends = f"[{_percent(share.low)}, {_percent(share.high)}]"
    reached = f"the candidate reaches {_percent(share.estimate)} {ends} of the measured roofline"
    reached += f", where {100 * bound:g} % are demanded"
    if share.high * margin < bound:
        took = f"it takes {seconds(floor.seconds / share.estimate)}, and the floor is {seconds(floor.seconds)}"
        return LightJudgement(demand, Verdict.FAIL, f"{reached}; {took}, by its {_SET_BY[floor.set_by]}", rounds, share)
    last = LOOKS[-1]
    if processes > 1:
        advice = f"over {processes} processes: more of them, or another bound, would decide it"
    elif rounds < last:
        advice = f"after {rounds} of {last} rounds: raise the budget"
    else:
        advice = f"after {last} rounds: make the machine quieter, or move the bound"
    return LightJudgement(demand, Verdict.INCONCLUSIVE, f"{reached}, {advice}", rounds, share)


def _percent(share: float) -> str:
    return f"{significant(100 * share)} %"
