"""The reference's rows beside a candidate that the timer's process launches: graphs of this process, the same slots."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import InPlace
from pytest_kgate.device.arm import prepare
from pytest_kgate.device.cuda import driver
from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.device.cuda.timers.capture import Captures
from pytest_kgate.device.rows import by_turn
from pytest_kgate.integrity.isolation.relaunch.sampling.plan import RowPlan
from pytest_kgate.integrity.isolation.relaunch.sampling.sampler import RowGraphs
from pytest_kgate.integrity.isolation.relaunch.sampling.sampler import Sampler
from pytest_kgate.problems.trees import tree


@contextlib.contextmanager
def reference_rows(
    device: CudaContext,
    arm: Arm,
    plan: RowPlan,
    sampler: Sampler,
    slots: Sequence[tuple[tuple[Any, ...], Any]],
    values: tuple[Any, ...],
) -> Iterator[RowGraphs]:
    """The arm's rows on the slots, inputs and answer each, as graphs that go at the end of the block.

    An arm that does beforehand what is not timed does it on `values`, which are like those to come.
    """
    captures = Captures(device)
    sets = [(inputs, [_output(answer) if arm.takes_output else None]) for inputs, answer in slots]
    held, made = [], []
    try:
        if arm.prepare is not None:
            _prepare(device, arm, [inputs for inputs, _ in slots], values)
        for turns in (plan.warm_row, *plan.rows):
            call = by_turn((arm,), 0, [sets[turn] for turn in turns])
            graph, _ = captures.capture(call, len(turns), to_read=True)
            held.append(graph)
            made.append(driver.call("cuGraphInstantiate", graph.raw_cuda_graph(), 0))
        rows = RowGraphs(*made)
        sampler.replay_once(rows)
        device.wait()
        yield rows
    finally:
        for one in made:
            driver.call("cuGraphExecDestroy", one)
        for graph in held:
            graph.reset()
        prepare([arm], [])
        captures.close()


def _prepare(device: CudaContext, arm: Arm, inputs: Sequence[tuple[Any, ...]], values: tuple[Any, ...]) -> None:
    """Let the arm do beforehand what is not timed; its answers are not looked at."""
    for own in inputs:
        tree.write(own, values)
    prepare([arm], inputs)
    device.synchronize()


def _output(answer: Any) -> Any:
    """What an arm writes to, of a whole answer."""
    return answer.returned if isinstance(answer, InPlace) else answer
