"""The reference is timed in turn here, beside the candidate, and in the clean process, where it is alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.bench.processes.clean.problem.recipe import NotRebuilt
from pytest_kgate.bench.processes.clean.slowdown import MARGINS
from pytest_kgate.bench.processes.clean.slowdown import PAIRS
from pytest_kgate.bench.processes.clean.slowdown import Slowdown
from pytest_kgate.bench.race.round_plan import shuffled_order
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.device.arm import prepare
from pytest_kgate.errors import CandidateError
from pytest_kgate.integrity.tampering.tracing import untraced
from pytest_kgate.system.clocks.deadline import deadline
from pytest_kgate.system.cpu_load import wait_until_quiet

if TYPE_CHECKING:
    from pytest_kgate.bench.processes.clean.process import CleanProcess
    from pytest_kgate.bench.record.builder import RecordBuilder
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.report.record.facts.integrity import CleanFacts

QUIET_SECONDS = 0.1
"""The longest that a process waits until its own threads sleep, before the other one's turn. Workers of OpenMP spin for
some milliseconds after their last task."""

_APART_SECONDS = 1.0

_REFERENCE = 1
"""The number of its arm in the race."""

CLOCK = "sm_clock_hz"
"""Among the evidence of a round on a GPU."""


def timed(
    process: CleanProcess,
    builder: RecordBuilder,
    device: Device,
    facts: CleanFacts,
    when_stuck: Callable[[str], None],
) -> str | None:
    """Why a gate is not met against the reference of the clean process, as one sentence; fills in `facts`.

    What would be charged must show twice, some time apart, and the smaller charge is the one that counts: other work on
    the machine may slow down one of two processes for a while.
    """
    assert builder.race is not None
    judgements = builder.race.judgements
    try:
        found = _in_turn(process, builder, device, 0, when_stuck)
        if found.unproven(judgements) is not None:
            time.sleep(_APART_SECONDS)
            found = min(found, _in_turn(process, builder, device, 1, when_stuck), key=lambda one: one.charged)
    except CandidateError as error:
        if not error.what.startswith("Out of "):
            raise
        facts["pairs"], facts["untimed"] = 0, "there is no room for the inputs of both processes"
        return None
    except NotRebuilt as clause:
        facts["pairs"], facts["untimed"] = 0, str(clause)
        return None
    facts["pairs"] = len(found.here)
    facts["slowed"], facts["charged"] = found.estimate, found.charged
    facts["reference_seconds"] = float(np.median(found.there))
    missed = found.unproven(judgements)
    return None if missed is None else found.sentence(missed, process.difference)


def _in_turn(
    process: CleanProcess, builder: RecordBuilder, device: Device, attempt: int, when_stuck: Callable[[str], None]
) -> Slowdown:
    """Time a few rounds of both arms as in the race, each followed by one of the clean process; more where it counts.

    More are taken where the few would turn the verdict of a gate.
    """
    assert builder.race is not None
    assert builder.stopwatch is not None
    assert builder.candidate is not None
    assert builder.reference is not None
    assert builder.correctness is not None
    raced, arms = builder.stopwatch, (builder.candidate, builder.reference.arm)
    workload = workload_of(builder.request.problem, device, builder.correctness.like)
    book = builder.request.book.page(Stream.CLEAN_PROCESS, attempt)
    process.begin_race(raced.timer, raced.cache)
    limit = builder.request.settings.timeout
    with deadline(limit, "a round in turn with a clean process", when_stuck):
        stopwatch = device.stopwatch(arms, workload, timer=raced.timer, cache=raced.cache)
    samples, here, there = builder.race.candidate.shape[1], list[float](), list[float]()
    found = Slowdown((), (), MARGINS[device.kind])
    try:
        for pairs in PAIRS:
            while len(here) < pairs:
                number = len(here)
                seeds = book.round(number, probed=False)
                generator = book.generator(Stream.ROUND_ORDER, number)
                with deadline(limit, "a round in turn with a clean process", when_stuck), untraced():
                    taken = stopwatch.round(seeds, shuffled_order(generator, samples, raced.run_length))
                latency, clock = float(np.median(taken.seconds[_REFERENCE])), taken.evidence.get(CLOCK)
                del taken
                free_cached_memory(device)
                wait_until_quiet(QUIET_SECONDS)
                # Both arms are the reference there.
                halved = shuffled_order(generator, max(1, samples // 2), raced.run_length)
                latency_there, clock_there = process.time(seeds, halved)
                # A clock that the other arm's power has lowered is nobody's fault.
                slower = clock / clock_there if clock and clock_there else 1.0
                here.append(latency * min(1.0, slower))
                there.append(latency_there)
            found = replace(found, here=tuple(here), there=tuple(there))
            if not found.may_turn(builder.race.judgements):
                break
    finally:
        stopwatch.close()
        prepare(arms, [])
    return found


def free_cached_memory(device: Device) -> None:
    """Give the memory that PyTorch's allocator caches back to the GPU, for the other process."""
    if device.kind == "cuda":
        torch.cuda.empty_cache()
