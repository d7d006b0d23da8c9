"""Count the gate's error rates on simulated noise, where the true ratio is known: the real race and rule, no hardware.

What is counted are verdicts of `race.run` on the fake device; `scenarios.py` has the noise, and `file.py` the file
of the counts and their table.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import zlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import as_completed
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytest_kgate import __version__
from pytest_kgate.bench.race.race import Plan
from pytest_kgate.bench.race.race import run
from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.protocol import Workload
from pytest_kgate.report.record.values import now
from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.intervals.binomial import at_least
from pytest_kgate.statistics.judge_processes import Run
from pytest_kgate.statistics.judge_processes import judge_processes
from pytest_kgate.validation.simulate.scenarios import BY_NAME
from pytest_kgate.validation.simulate.scenarios import Scenario

SCHEMA = "pytest-kgate/simulation"
VERSION = 1

BOUND = 0.95

RATIOS: Mapping[str, float] = {
    "boundary": BOUND,
    "equal": 1.0,
    "1 %": 0.99 * BOUND,
    "2 %": 0.98 * BOUND,
    "5 %": 0.95 * BOUND,
}
"""True ratios by name: on the bound, where every PASS and every FAIL is false; two equal kernels, which must not pass;
and candidates that are that much faster than the bound demands."""

GATES = 4000
"""Of the boundary in each scenario; of the other ratios a quarter. One standard error of 2.5 % is then 0.25 %."""

_CONFIDENCE = SpeedGate(BOUND).confidence
"""Of a gate that asks for no other."""

_CHUNK = 50
"""Gates that a worker process takes at once, about half a second."""

_BINS = 40

_DOUBT = 0.01
"""A rate is above its limit where so many false passes have at most this chance at the limit."""


def judgements(
    scenario: Scenario, ratio: float, gates: range, seed: int = 42, gate: SpeedGate | None = None
) -> Iterator[Judgement]:
    """Race and judge these gates one after the other; a gate's noise follows from its number and the seed alone."""
    gate = gate or SpeedGate(BOUND)
    arms = [Arm(name, lambda inputs, output: output, False) for name in ("candidate", "reference")]
    workload = Workload(lambda seed: (), lambda inputs: None)
    stream = zlib.crc32(scenario.name.encode())
    for number in gates:
        # Of noise that is made up: no candidate sees it, and the committed counts were made with these streams.
        seeds = np.random.SeedSequence([seed, stream, round(1e6 * ratio), number])
        own = int(seeds.generate_state(1, np.uint64)[0] >> 1)
        device = scenario.device(ratio, own)
        if scenario.processes == 1:
            plan = Plan(budget_seconds=3600.0, seed=own)
            yield run(device.stopwatch(arms, workload), [gate], plan, device.clock).judgements[0]
            continue
        books = (SeedBook(own).page(Stream.PROCESS, process) for process in range(1, scenario.processes + 1))
        plans = (Plan(3600.0, book.root, all_rounds=True) for book in books)
        races = [run(device.stopwatch(arms, workload), (), plan, device.clock) for plan in plans]
        runs = [Run(race.candidate, race.reference) for race in races]
        yield judge_processes(gate, runs, scenario.tick_seconds)[0]


@dataclass(frozen=True)
class ErrorRates:
    """Counts of the verdicts, rounds and p values of gates at one true ratio in one scenario."""

    gates: int = 0
    passed: int = 0
    failed: int = 0
    rounds: int = 0
    """Of all gates together."""
    p_values: tuple[int, ...] = (0,) * _BINS
    """How many sequential p values fell into each of so many equal bins from 0 to 1; on the bound, the first may hold
    a false PASS's share, and the first k together k times that."""

    @classmethod
    def of(cls, found: Sequence[Judgement]) -> ErrorRates:
        """Count the verdicts of these gates."""
        verdicts = [one.verdict for one in found]
        p = [one.sequential_p for one in found]
        # Bins are closed above, for a race that stops on its boundary has a p of exactly 0.025.
        bins = np.ceil(np.array(p, dtype=np.float64) * _BINS - 1e-9).clip(1, _BINS).astype(np.intp) - 1
        return cls(
            len(found),
            verdicts.count(Verdict.PASS),
            verdicts.count(Verdict.FAIL),
            sum(one.rounds for one in found),
            tuple(np.bincount(bins, minlength=_BINS).tolist()),
        )

    def __add__(self, other: ErrorRates) -> ErrorRates:
        return ErrorRates(
            self.gates + other.gates,
            self.passed + other.passed,
            self.failed + other.failed,
            self.rounds + other.rounds,
            tuple(mine + others for mine, others in zip(self.p_values, other.p_values, strict=True)),
        )

    def above(self, limit: float) -> bool:
        """Whether this many passes are too many for a rate of `limit`, beyond what luck explains."""
        return at_least(self.passed, self.gates, limit) < _DOUBT


def count_verdicts(
    scenario: Scenario, ratio: float, gates: range, seed: int = 42, confidence: float = _CONFIDENCE
) -> ErrorRates:
    """Race and judge these gates at this two-sided level, and count their verdicts."""
    gate = SpeedGate(BOUND, confidence=confidence)
    return ErrorRates.of(list(judgements(scenario, ratio, gates, seed, gate)))


def simulate(
    scenarios: Sequence[Scenario],
    gates: int = GATES,
    seed: int = 42,
    jobs: int | None = None,
    progress: Callable[[float], None] | None = None,
    confidence: float = _CONFIDENCE,
) -> dict[str, Any]:
    """Simulate every scenario at every true ratio, on `jobs` processes (None: one a core); returns the document.

    `confidence` is the gates' two-sided level; false passes may be as much rarer as it is stricter than the default.
    """
    started, begun = now(), time.perf_counter()
    tasks = []
    for scenario in scenarios:
        for name in RATIOS:
            count = gates if name == "boundary" else max(1, gates // 4)
            tasks += [(scenario.name, name, first, min(first + _CHUNK, count)) for first in range(0, count, _CHUNK)]
    rates = {(scenario.name, name): ErrorRates() for scenario in scenarios for name in RATIOS}
    for done, ((scenario_name, name), one) in enumerate(
        _run(tasks, seed, jobs or os.cpu_count() or 1, confidence), start=1
    ):
        rates[scenario_name, name] += one
        if progress is not None:
            progress(done / len(tasks))
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "created": started,
        "kgate": __version__,
        "seed": seed,
        "bound": BOUND,
        "confidence": confidence,
        "seconds": round(time.perf_counter() - begun, 1),
        "scenarios": [
            {
                "name": scenario.name,
                "title": scenario.title,
                "noise": repr(scenario.noise),
                "reference_seconds": scenario.reference_seconds,
                "tick_seconds": scenario.tick_seconds,
                "limit": scenario.limit and scenario.limit * (1 - confidence) / (1 - _CONFIDENCE),
                "cells": [
                    {"name": name, "ratio": ratio, **vars(rates[scenario.name, name])} for name, ratio in RATIOS.items()
                ],
            }
            for scenario in scenarios
        ],
    }


def renewed(
    document: Mapping[str, Any],
    scenarios: Sequence[Scenario],
    jobs: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """The document with these scenarios counted again, or added, with its own number of gates and its seed.

    Each gate's noise follows from its scenario's name, its number and the seed alone, so that the result is that of
    counting everything again.
    """
    gates = max(rates_of(scenario)["boundary"].gates for scenario in document["scenarios"])
    fresh = simulate(scenarios, gates, document["seed"], jobs, progress, document["confidence"])
    rows = {row["name"]: row for row in (*document["scenarios"], *fresh["scenarios"])}
    ordered = [rows.pop(name) for name in BY_NAME if name in rows] + list(rows.values())
    return {**fresh, "seconds": round(document["seconds"] + fresh["seconds"], 1), "scenarios": ordered}


def rates_of(scenario: Mapping[str, Any]) -> dict[str, ErrorRates]:
    """A document's counts of one scenario, by the name of their true ratio."""
    return {
        one["name"]: ErrorRates(one["gates"], one["passed"], one["failed"], one["rounds"], tuple(one["p_values"]))
        for one in scenario["cells"]
    }


_Task = tuple[str, str, int, int]


def _run(
    tasks: Sequence[_Task], seed: int, jobs: int, confidence: float
) -> Iterator[tuple[tuple[str, str], ErrorRates]]:
    if jobs == 1:
        yield from (_work(task, seed, confidence) for task in tasks)
        return
    # Spawned, not forked: the caller may have threads, and torch does not survive a fork.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(_work, task, seed, confidence) for task in tasks]
        try:
            yield from (one.result() for one in as_completed(waiting))
        finally:
            pool.shutdown(cancel_futures=True)


def _work(task: _Task, seed: int, confidence: float) -> tuple[tuple[str, str], ErrorRates]:
    scenario, name, first, end = task
    return (scenario, name), count_verdicts(BY_NAME[scenario], RATIOS[name], range(first, end), seed, confidence)
