"""The parent's side of a gate raced in several processes: run them one after the other, judge all their rounds."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pytest_kgate.bench.processes.isolated import isolation_of
from pytest_kgate.bench.processes.isolated import slowed_down
from pytest_kgate.bench.race.race import Progress
from pytest_kgate.bench.race.speed_of_light.judge import judge_light_processes
from pytest_kgate.errors import KgateError
from pytest_kgate.report.format import percent
from pytest_kgate.report.record.samples import arm_facts
from pytest_kgate.report.record.samples import decode_samples
from pytest_kgate.report.record.values import plain
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.report.record.verdicts import overall_verdict
from pytest_kgate.report.record.verdicts import with_limits
from pytest_kgate.statistics.estimates import Floats
from pytest_kgate.statistics.estimates import count_outliers
from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.judge_processes import Run
from pytest_kgate.statistics.judge_processes import Spread
from pytest_kgate.statistics.judge_processes import judge_processes

if TYPE_CHECKING:
    from pytest_kgate.bench.race.speed_of_light.limit import LightAsked
    from pytest_kgate.bench.request import Request
    from pytest_kgate.report.record.facts.limits import LimitFacts
    from pytest_kgate.report.record.facts.timing import ProbesFacts
    from pytest_kgate.report.record.facts.timing import ProcessFacts
    from pytest_kgate.report.record.facts.timing import TimingFacts
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.statistics.gate_facts import Number

Spawn = Callable[[int, "str | None", float], "Record"]
"""`spawn(process, backend, limit_seconds)`: the record of a new process, from 1; raises `KgateError` without one."""


def gather(
    record: Record,
    request: Request,
    spawn: Spawn,
    progress: Callable[[Progress], None] | None,
    light: LightAsked | None = None,
) -> Record:
    """Race in as many processes as the request asks for, and return `record` with the gates judged on all their rounds.

    `record` holds this process's check of the answers. The first process that breaks off or finds a wrong answer ends
    the gathering; its verdict and reason are then those of the record.
    """
    of = request.settings.processes
    # Once for its start; the process itself limits how long it waits for the device, the check and the race.
    limit = 4 * request.settings.timeout + 2 * request.settings.budget
    backend = record["reference"]["backend"] if record["reference"] else None
    found: list[Record] = []
    _release_memory()
    for process in range(1, of + 1):
        try:
            one = spawn(process, backend, limit)
        except KgateError as error:
            return {**record, "verdict": "ERROR", "reason": f"{error.what}\n{error.todo}".rstrip()}
        if not VERDICTS[one["verdict"]].passes or not one["timing"]:
            return _refused(record, request, one, f"process {process} of {of}")
        found.append(one)
        if progress is not None:
            timings = [_timing_of(each) for each in found]
            spent = sum(timing["seconds_spent"] for timing in timings)
            rounds = sum(timing["rounds"] for timing in timings)
            progress(Progress(rounds, spent, float(timings[-1]["ratio_of_medians"])))
    return _judged(record, request, found, light)


def _release_memory() -> None:
    """Give the memory that PyTorch's allocator caches back to the GPU: the other processes need it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _refused(record: Record, request: Request, one: Record, which: str) -> Record:
    """The record where one process has no rounds that can be trusted, though this process's check was passed."""
    reason = f"{which}: {one['reason'] or 'took no round'}"
    verdict = "INVALID" if VERDICTS[one["verdict"]].of_gates else one["verdict"]
    gates = []
    if verdict == "INVALID":
        gates = [Judgement(gate, Verdict.INVALID, reason, 0).to_dict() for gate in request.speed]
    correctness = one["correctness"] if verdict == "WRONG" else record["correctness"]
    answer: Record = plain({**record, "verdict": verdict, "reason": reason, "gates": gates, "correctness": correctness})
    return answer


def _judged(record: Record, request: Request, found: Sequence[Record], light: LightAsked | None) -> Record:
    timings = [_timing_of(one) for one in found]
    timers = sorted({timing["timer"] for timing in timings})
    if len(timers) > 1:
        what = f"the processes were timed in different ways ({', '.join(timers)}); name one with --kgate-timer"
        return _refused(record, request, {**found[-1], "verdict": "INVALID", "reason": what}, "all processes")
    runs = [_run(timing) for timing in timings]
    tick = max(timing["tick_seconds"] for timing in timings)
    gates, notes = [], []
    for gate in request.speed:
        judgement, spread = judge_processes(gate, runs, tick)
        entry = judgement.to_dict()
        if spread is not None:
            entry["processes"] = spread.to_dict(runs)
            notes += _notes(gate, spread)
        gates.append(entry)
    limits: list[LimitFacts] = []
    if light is not None:
        shares = [run.candidate for run in runs]
        offset = max(run.offset_sd for run in runs)
        by_light = None if light.demand is None else judge_light_processes(light.demand, shares, tick, offset)
        if by_light is not None and by_light.verdict is Verdict.INVALID:
            return _refused(
                record, request, {**found[-1], "verdict": "INVALID", "reason": by_light.reason}, "all processes"
            )
        limits = [light.limit(by_light, None)]
        notes += light.warnings(by_light, request.settings.cache)
    judged = record["correctness"] if request.must_be_right else None
    isolation = isolation_of(record, found)
    if isolation is not None:
        record = {**record, "isolation": isolation}
        slowed = slowed_down(isolation, gates) if overall_verdict(gates, judged) == "PASS" else None
        gates = [{**gate, "verdict": "INVALID", "reason": slowed} for gate in gates] if slowed else gates
    warnings = dict.fromkeys([*record["warnings"], *(text for one in found for text in one["warnings"]), *notes])
    answer: Record = plain(
        {
            **record,
            "verdict": overall_verdict(gates, judged),
            "reason": next((gate["reason"] for gate in gates if gate["reason"]), ""),
            "gates": gates,
            "timing": _timing(timings, found, runs, tick),
            "warnings": list(warnings),
        }
    )
    return with_limits(answer, limits)


def _timing_of(one: Record) -> TimingFacts:
    """The timing of one process's record; records without one are refused before this is called."""
    timing = one["timing"]
    assert timing is not None
    return timing


def _run(timing: TimingFacts) -> Run:
    samples = [decode_samples(timing[arm]["samples"]) for arm in ("candidate", "reference")]
    return Run(samples[0], samples[1], float(timing.get("offset_sd", 0.0)))


def _notes(gate: SpeedGate, spread: Spread) -> list[str]:
    if not spread.differ:
        return []
    own, within = math.sqrt(spread.variance_between), math.sqrt(spread.variance_within)
    return [
        f"processes differ: at quantile {gate.quantile:g} each has an offset of its own, sd {percent(own)}, where "
        f"its rounds alone explain {percent(within)}; one process would be surer of itself than it may be"
    ]


def _timing(timings: Sequence[TimingFacts], found: Sequence[Record], runs: Sequence[Run], tick: float) -> TimingFacts:
    """The timing of all processes together, shaped as that of one race; samples follow each other by process."""
    candidate = _stacked([run.candidate for run in runs])
    reference = _stacked([run.reference for run in runs])
    first = timings[0]
    return {
        "timer": first["timer"],
        "cache": first["cache"],
        "rounds": sum(one["rounds"] for one in timings),
        "samples_per_round": max(one["samples_per_round"] for one in timings),
        "budget_seconds": first["budget_seconds"],
        "seconds_spent": sum(one["seconds_spent"] for one in timings),
        "tick_seconds": tick,
        "offset_sd": max(run.offset_sd for run in runs),
        "retaken": sum(one["retaken"] for one in timings),
        "candidate": arm_facts(candidate),
        "reference": arm_facts(reference),
        "overhead_seconds": {
            "candidate": _median(one["overhead_seconds"]["candidate"] for one in timings),
            "reference": _median(one["overhead_seconds"]["reference"] for one in timings),
        },
        "ratio": None,
        "ratio_of_medians": float(np.median(candidate) / np.median(reference)),
        "evidence": {},  # each process has its own
        "probes": _probes([probes for one in timings if (probes := one["probes"])]),
        "outliers": {
            "candidate": sum(count_outliers(run.candidate, tick) for run in runs),
            "reference": sum(count_outliers(run.reference, tick) for run in runs),
        },
        "processes": [_process(one) for one in found],
    }


def _median(values: Iterable[Number]) -> float:
    return float(np.median([float(value) for value in values]))


def _probes(found: Sequence[ProbesFacts]) -> ProbesFacts | None:
    if not found:
        return None
    surprise = {arm: _median(one["surprise_seconds"][arm] for one in found) for arm in ("candidate", "reference")}
    befores = [0, *itertools.accumulate(one["rounds"] for one in found)][:-1]
    hidden = [seconds for one in found if (seconds := one["hidden_seconds"]) is not None]
    return {
        "rounds": sum(one["rounds"] for one in found),
        "verified": sum(one["verified"] for one in found),
        "lots": [before + lot for before, one in zip(befores, found, strict=True) for lot in one.get("lots", [])],
        "surprise_seconds": surprise,
        "hidden_seconds": _median(hidden) if hidden else None,
    }


def _process(one: Record) -> ProcessFacts:
    timing = _timing_of(one)
    return {
        "started": one["started"],
        "seed": one["seeds"]["race"],
        "rounds": timing["rounds"],
        "samples_per_round": timing["samples_per_round"],
        "seconds_spent": timing["seconds_spent"],
        "candidate_seconds": timing["candidate"]["median_seconds"],
        "reference_seconds": timing["reference"]["median_seconds"],
        "overhead_seconds": timing["overhead_seconds"],
        "evidence": timing["evidence"],
    }


def _stacked(samples: Sequence[Floats]) -> Floats:
    """All rounds in one array; where processes took different numbers of samples a round, one sample a row."""
    if len({one.shape[1] for one in samples}) == 1:
        return np.concatenate(samples)
    return np.concatenate([one.reshape(-1, 1) for one in samples])
