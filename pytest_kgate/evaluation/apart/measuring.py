"""Time one callable on a problem by itself, in rounds as those of a race."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from pytest_kgate.bench import seeds
from pytest_kgate.bench.correctness.problem_calls import reference_output
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.bench.race.round_plan import samples_of_a_round
from pytest_kgate.bench.race.round_plan import shuffled_order
from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.device.answer import finished
from pytest_kgate.device.arm import bind
from pytest_kgate.device.arm import prepare
from pytest_kgate.errors import CandidateError
from pytest_kgate.evaluation.apart.measurement import Measurement
from pytest_kgate.evaluation.apart.measurement import Run
from pytest_kgate.integrity.side_effects.placement import placed
from pytest_kgate.report.record.values import now

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.problems.problem import Problem


_FOREIGN_CORES = 0.2
"""From which a race on the host looks at what other work has cost, too."""

_LONGEST_SECONDS = 60.0
"""Of so many rounds, above which a round has fewer samples, as in a race of that budget."""


def measure(
    name: str,
    function: Callable[..., Any],
    problem: Problem,
    device: Device,
    *,
    timer: str = "auto",
    cache: str = "hot",
    samples: int,
    warmup: int = 0,
    seed: int | None = None,
    checked: bool = False,
) -> Measurement:
    """Take at least so many samples, in whole rounds, behind at least `warmup` that are thrown away.

    The stopwatch of a race times two arms; here both are this one. Raises as a race does.
    """
    arm = bind("candidate", function, problem.params, problem.mutates)
    arm = finished(arm) if device.kind == "host" else arm
    root = seeds.drawn() if seed is None else seed
    book, started, warnings = SeedBook(root), now(), list[str]()
    workload = workload_of(problem, device, reference_output(device, problem, arm))
    with placed(device, [arm], workload, book.numbered(Stream.PLACEMENT_VALUES)) as placement:
        if placement.finding:
            raise CandidateError(placement.finding, "Launch on the stream of the call: torch.cuda.current_stream().")
        stopwatch = device.stopwatch((arm, arm), workload, timer=timer, cache=cache)
        try:
            stopwatch.prove_cold()
            each = samples_of_a_round(stopwatch.sample_seconds, stopwatch.enough_seconds, _LONGEST_SECONDS, ())
            each = max(1, each // 2)  # of both arms, that is of one twice
            thrown_away, wanted = math.ceil(warmup / (2 * each)), math.ceil(samples / (2 * each))
            before, rounds, others = device.read_machine(), [], []
            for number in range(thrown_away + wanted):
                order = shuffled_order(book.generator(Stream.ROUND_ORDER, number), each, stopwatch.run_length)
                latest = stopwatch.round(book.round(number, probed=False), order)
                rounds.append(latest.seconds.reshape(-1))
                others.append(float(latest.evidence.get("foreign_cpu", 0.0)))
            warnings += [*stopwatch.warnings, *([placement.warning] if placement.warning else [])]
            after = device.read_machine()
        finally:
            stopwatch.close()
            prepare([arm], [])
    if any(reading and reading.foreign_processes for reading in (before, after)):
        warnings.append("another process was on the GPU: the latencies may be its fault")
    if float(np.median(others)) >= _FOREIGN_CORES:
        warnings.append(f"other work took {float(np.median(others)):.1f} cores: the latencies may be its fault")
    return Measurement(
        arm=name,
        problem=problem.name,
        checked=checked,
        timer=stopwatch.timer,
        cache=stopwatch.cache,
        tick_seconds=stopwatch.tick_seconds,
        warmup_rounds=thrown_away,
        environment=device.environment(),
        runs=(Run(started, seeds.text(root), np.array(rounds[thrown_away:])),),
        warnings=tuple(warnings),
    )
