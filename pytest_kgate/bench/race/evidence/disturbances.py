"""Find what disturbed a race, from readings made around its rounds: throttling, a late host, other processes. Pure.

Nothing here looks at the verdict, nor at which arm was the faster. A race is thrown away for what disturbed it, so
throwing it away favours neither side. `docs/statistics.md` has the table of what follows from what.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_kgate.bench.race.evidence.order_effects import TOLERATED_BIAS
from pytest_kgate.bench.race.evidence.order_effects import ArmOrder
from pytest_kgate.bench.race.evidence.order_effects import Floats
from pytest_kgate.bench.race.evidence.order_effects import Reason
from pytest_kgate.bench.race.evidence.order_effects import clock_step_bias
from pytest_kgate.bench.race.evidence.order_effects import judge_position
from pytest_kgate.bench.race.evidence.order_effects import position_effects
from pytest_kgate.bench.race.evidence.order_effects import separated
from pytest_kgate.device.protocol import THROTTLING
from pytest_kgate.device.protocol import ColdCache
from pytest_kgate.device.protocol import Reading
from pytest_kgate.device.protocol import Round
from pytest_kgate.report.format import percent
from pytest_kgate.statistics import estimates

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.timing import EvidenceFacts
    from pytest_kgate.report.record.facts.timing import IdleGapFacts
    from pytest_kgate.report.record.facts.timing import MachineFacts

_SETTLED_CLOCK = 0.02
"""Relative range of the SM clock over a race; 0.1 % was seen on an H200 that nothing disturbs."""

_STARVED_SHARE = 0.25
"""Share of the samples that were taken again because the host was late, above which the race is disturbed. One delay in
a race is an accident; one in four rounds, each of half a second, is a host that has no core to spare."""

_COARSE_TICK = 0.02
"""One tick of the timer as a share of a latency, above which a reader is warned: the medians that the classic rule
compares then jump by more than most gates demand."""

_OTHERS_CORES = 0.2
"""Cores that others must have taken before waiting is put down to them, and not to the arms' own threads."""

_MOST_WAIT = 0.999
"""Share of a round's time. Several threads may have waited for longer than it lasted: then no bound is known."""


@dataclass(frozen=True)
class RaceLog:
    """One race's rounds, with the readings of the machine that were made between them."""

    rounds: Sequence[Round]
    orders: Sequence[ArmOrder]
    """Of each round: the arm of every sample, in the order taken."""
    ended: Sequence[float]
    """The device's clock at the end of each round, in seconds."""
    readings: Sequence[tuple[int, Reading]]
    """With the number of rounds that were over; the first is from before the race, the last from after it."""
    tick_seconds: float
    sample_seconds: float
    """About what one sample of both arms takes."""
    cold: ColdCache | None = None


@dataclass(frozen=True)
class Disturbances:
    """The findings on one race: facts for its record, reasons not to trust it (empty: none), warnings to its reader."""

    facts: EvidenceFacts
    reasons: tuple[Reason, ...]
    warnings: tuple[str, ...]


def assess(seen: RaceLog) -> Disturbances:
    """Put every question of this module to one race, and gather the answers."""
    clocks = _readings_of(seen.rounds, "sm_clock_hz")
    changes = _readings_of(seen.rounds, "sm_clock_change")
    facts: EvidenceFacts = {"machine": [_machine(done, one) for done, one in seen.readings]}
    reasons = [*foreign(seen.readings), *starved(seen.rounds), *loaded(seen.rounds)]
    warnings = [*_throttled_throughout(seen.readings), *clock_warnings(clocks)]
    ratio_se = 0.0
    if len(seen.rounds) >= 2 and _plain(seen):
        facts["position"] = effects = position_effects(seen.rounds, seen.orders)
        ratio_se = effects["ratio_se"]
        found = judge_position(effects)
        reasons += found[0]
        warnings += found[1]
        facts["autocorrelation"] = _autocorrelation(seen.rounds)
        facts["tick_share"] = share = _tick_share(seen.rounds, seen.tick_seconds)
        if share > _COARSE_TICK:
            warnings.append(f"one tick of the timer is {percent(share)} of a latency: differences below it do not show")
    stepped: list[Reason] = []
    if len(changes):
        facts["clock_step_bias"] = bias = clock_step_bias(changes, seen.orders)
        stepped = separated(changes, seen.orders, ratio_se)
    else:
        bias = _most_by_steps(seen.rounds)
    # Throttling acts through the clock: where its steps count, they have been counted.
    reasons += stepped or throttled(seen.readings, clocks, bias)
    if len(seen.ended) >= 2:
        facts["idle_gap_seconds"] = _idle_gap(seen)
    if seen.cold is not None:
        facts["cold"] = {"hot_cycles": seen.cold.hot_cycles, "flushed_cycles": seen.cold.flushed_cycles}
    return Disturbances(facts, tuple(reasons), tuple(warnings))


def foreign(readings: Iterable[tuple[int, Reading]]) -> list[Reason]:
    """A reason where a process not ours had a context on the device; whether it worked meanwhile can't be told."""
    most = max((one.foreign_processes or 0 for _, one in readings), default=0)
    if not most:
        return []
    who = "another process" if most == 1 else f"{most} other processes"
    return [Reason(f"{who} had the GPU open during the race", foreign=True)]


def throttled(readings: Sequence[tuple[int, Reading]], clocks_hz: Floats, bias: float) -> list[Reason]:
    """A reason where the device began to throttle during the race and its clock moved, or can't be told to have stayed.

    What was there before the race or after its first round belongs to the load: both arms ran under it throughout. What
    a lower clock does from one round to the next it does to both arms; `bias` is the most that its steps within rounds
    can have moved the log of the ratio.
    """
    early = _reasons(one for done, one in readings if done <= 1)
    late = _reasons(one for done, one in readings if done > 1)
    began = late & ~early
    if not began or (len(clocks_hz) and not clock_warnings(clocks_hz)):
        return []
    return [Reason(f"the GPU began to throttle during the race: {_names(began)}", bias, bias)]


def starved(rounds: Sequence[Round]) -> list[Reason]:
    """A reason where the host kept the stream waiting time and again; in the first round the timer finds its pace."""
    later = rounds[1:]
    retaken = sum(one.retaken for one in later)
    kept = sum(one.seconds.size for one in later)
    if not kept or retaken <= _STARVED_SHARE * kept:
        return []
    return [
        Reason(
            f"the stream was starved: {retaken} samples were taken again because the host was late, beside {kept} "
            "others"
        )
    ]


def loaded(rounds: Sequence[Round]) -> list[Reason]:
    """A reason where other work took cores that the arms of a race on the host waited for.

    An arm whose threads waited during a share w of its time would have been faster by at most that share. So the
    reference's share is what a ratio may read too low, and the candidate's what it may read too high.
    """
    waits = [_readings_of(rounds, f"{arm}_wait") for arm in ("candidate", "reference")]
    others = _readings_of(rounds, "foreign_cpu")
    steal = _readings_of(rounds, "steal")
    if not len(others) or not all(map(len, waits)):
        return []
    taken = max(0.0, float(others.mean())) + (float(steal.mean()) if len(steal) else 0.0)
    candidate, reference = (float(-np.log1p(-np.minimum(shares, _MOST_WAIT)).mean()) for shares in waits)
    if taken < _OTHERS_CORES or max(candidate, reference) < TOLERATED_BIAS:
        return []
    waited = [percent(-math.expm1(-log)) for log in (candidate, reference)]
    text = (
        f"other work took {taken:.2g} of the machine's cores: the candidate waited for one during {waited[0]} of its "
        f"time, the reference during {waited[1]}"
    )
    return [Reason(text, reference, candidate, foreign=True)]


def _most_by_steps(rounds: Sequence[Round]) -> float:
    """The most that steps of a clock that nobody has measured can have moved the log of the ratio.

    They move an arm's latency from round to round, by all of a step, and the ratio by the part of it that falls between
    the samples of the arms within a round: by no more than an arm's latency has moved.
    """
    if len(rounds) < 2:
        return math.inf
    medians = np.array([np.median(one.seconds, axis=1) for one in rounds])
    if not (np.isfinite(medians) & (medians > 0)).all():
        return math.inf
    return float(np.ptp(np.log(medians), axis=0).max())


def clock_warnings(clocks_hz: Floats) -> list[str]:
    """What to say of the SM clocks of a race's rounds: nothing, where they agree as a settled GPU's do."""
    if not clocks_hz.size or np.ptp(clocks_hz) <= _SETTLED_CLOCK * np.median(clocks_hz):
        return []
    low, high = clocks_hz.min() / 1e9, clocks_hz.max() / 1e9
    return [f"the SM clock moved between {low:.2f} and {high:.2f} GHz from round to round; latencies moved with it"]


def _machine(done: int, one: Reading) -> MachineFacts:
    return {
        "round": done,
        "throttle": one.throttle,
        "temperature_c": one.temperature_c,
        "foreign_processes": one.foreign_processes,
        "seconds": one.seconds,
    }


def _plain(seen: RaceLog) -> bool:
    """Whether every sample can be matched with its place, and has a logarithm."""
    return all(
        one.seconds.shape[1] >= 2
        and np.isfinite(one.seconds).all()
        and bool((one.seconds > 0).all())
        and all((order == arm).sum() == one.seconds.shape[1] for arm in (0, 1))
        for one, order in zip(seen.rounds, seen.orders, strict=True)
    )


def _autocorrelation(rounds: Sequence[Round]) -> dict[str, float]:
    """Lag-1 autocorrelation of the log latencies and of their ratio from round to round.

    It is only recorded: the rule widens its interval by the autocorrelation of the ratio's blocks.
    """
    logs = np.log(estimates.estimate(np.stack([one.seconds for one in rounds])))
    series = {"ratio": logs[:, 0] - logs[:, 1], "candidate": logs[:, 0], "reference": logs[:, 1]}
    return {name: estimates.lag1(values) for name, values in series.items()}


def _tick_share(rounds: Sequence[Round], tick_seconds: float) -> float:
    shortest = min(float(np.median([one.seconds[arm] for one in rounds])) for arm in (0, 1))
    return tick_seconds / shortest


def _idle_gap(seen: RaceLog) -> IdleGapFacts:
    """The most seconds for which the device can have idled between rounds: the median and the longest gap of a race."""
    busy = _readings_of(seen.rounds, "device_busy_seconds")
    if not len(busy):
        busy = np.array([seen.sample_seconds * one.seconds.shape[1] for one in seen.rounds])
    gaps = np.maximum(np.diff(seen.ended) - busy[1:], 0.0)
    return {"median": float(np.median(gaps)), "longest": float(gaps.max())}


def _throttled_throughout(readings: Sequence[tuple[int, Reading]]) -> list[str]:
    before = _reasons(one for done, one in readings if done <= 1)
    return [f"the GPU throttled when the race began: {_names(before)}; both arms ran under it"] if before else []


def _reasons(readings: Iterable[Reading]) -> int:
    found = 0
    for one in readings:
        found |= one.throttle or 0
    return found & sum(THROTTLING)


def _names(reasons: int) -> str:
    return ", ".join(name for bit, name in THROTTLING.items() if reasons & bit)


def _readings_of(rounds: Sequence[Round], name: str) -> Floats:
    """The readings of one name, one value a round; empty where any round lacks it."""
    values = [one.evidence[name] for one in rounds if name in one.evidence]
    return np.array(values if len(values) == len(rounds) else [], dtype=np.float64)
