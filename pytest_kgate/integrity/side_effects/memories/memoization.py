"""Memoization: whether a candidate answers values that it has answered before faster than new ones, or by old answers.

Calls are timed one at a time, in an order that no candidate can know: on NEW values, which nobody has shown before, on
values that come AGAIN, which it has answered several times, with others in between, and on the SAME values as the call
before. What happens before a call is alike for all: values are written into the same buffers, and memory that answers
were freed from is overwritten. `timed_calls` judges whether new values take longer.
"""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pytest_kgate.device.answer import copied
from pytest_kgate.device.answer import demand_data
from pytest_kgate.device.answer import poison
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import prepare
from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Workload
from pytest_kgate.integrity.side_effects.freed_memory import free
from pytest_kgate.integrity.side_effects.memories.new_values import NewValues
from pytest_kgate.integrity.side_effects.memories.timed_calls import LOOKS
from pytest_kgate.integrity.side_effects.memories.timed_calls import TimedCalls
from pytest_kgate.problems.trees import tree
from pytest_kgate.statistics.gates import Judgement

_FIRST_PAIRS = (5, 7)
"""After so many, drawn by lot, it is over where new values seem to cost nothing, and the race left no doubt."""

_FIRST_PAIRS_OF_SLOW = (3, 4)
"""The same where calls are slow, and differ by little from each other."""

_SLOW_SECONDS = 5e-3

_KNOWN = 2
"""Sets of values that come again; one, where they are large."""

_LARGE_BYTES = 2**26

_SHOWN_SECONDS = 5e-3
"""How long known sets are shown before the first pair: a candidate may work on the first calls that see values."""

_DOUBTED_SECONDS = 0.5
"""The same, where the race left a doubt."""

_SHOWN = (2, 30)
"""The fewest and the most calls by which a set is shown; in a round of a race values are seen thirty times at most."""

_UNLEARNT = 20_000
"""Numbers to sort: takes a millisecond, and more branches than a processor remembers."""

_LONGEST_SECONDS = 10.0
"""After so long there is no other look."""

_SAME = (2, 4)
"""Calls on the same values after one on new ones, of which the last is timed; of slow ones there is one."""


def time_calls(
    device: Device,
    arm: Arm,
    workload: Workload,
    seeds: Callable[[int], int],
    latency_seconds: float,
    *,
    doubted: bool = False,
) -> tuple[TimedCalls, tuple[Any, ...], Any]:
    """Time calls on new values, on known ones and on the same ones; also returns the inputs and the answer of one call
    on new values, chosen by lot, which must fit each other.

    `seeds` tells the seed of each draw. `latency_seconds` is about how long a call takes. `doubted`: whether the race
    left open that new values cost too much; known values are then shown more often before. On the host, calls on the
    same values are made only then: a processor learns branches that come again at once.
    """
    buffers = Buffers(device, arm, workload, seeds(0))
    known = [buffers.inputs_of(seeds(1 + number)) for number in range(1 if buffers.large else _KNOWN)]
    room = (_DOUBTED_SECONDS if doubted else _SHOWN_SECONDS) / max(latency_seconds, 1e-7) / len(known)
    for _ in range(int(min(_SHOWN[1], max(_SHOWN[0], room)))):
        for values in known:
            buffers.write(values)
            held = [buffers.call()]
            demand_data(held[0])
            free(held)
    device.synchronize()
    timed: _ByEvents | _ByClock = _ByEvents(device) if isinstance(device, CudaContext) else _ByClock()
    slow = latency_seconds > _SLOW_SECONDS
    same = (0, 0) if not (doubted or isinstance(device, CudaContext)) else (1, 1) if slow else _SAME
    timed.unlearns = doubted
    first = 0 if doubted else _lot(_FIRST_PAIRS_OF_SLOW if slow else _FIRST_PAIRS)
    calls, current, kept, answer = TimedCalls(), known[-1], 0, None
    start = time.perf_counter()
    for pair in range(first + LOOKS[-1]):
        steps = _steps(buffers.inputs_of(seeds(1 + _KNOWN + pair)), known, current, _lot(same))
        current = steps[-1][1]
        times, latest = timed(buffers, steps)
        calls = calls.with_pair(times)
        steps, current = [], current if steps[-1][0] == "again" else ()  # one draw of new values at a time
        if secrets.randbelow(pair + 1) == 0:
            kept, answer = pair, latest
        del latest
        if pair + 1 == first and not calls.decided:
            calls, timed.unlearns = TimedCalls(), True
        elif pair + 1 in (first, *(first + look for look in LOOKS)) and (
            calls.decided or time.perf_counter() - start > _LONGEST_SECONDS
        ):
            break
    device.synchronize()  # what runs on a stream of its own must not write into memory that is given back below
    del known, current
    buffers.close()
    return calls, buffers.inputs_of(seeds(1 + _KNOWN + kept)), answer


def turned(
    device: Device,
    new: NewValues,
    judgements: Sequence[Judgement],
    arms: tuple[Arm, Arm],
    workload: Workload,
    seeds: Callable[[int, int], int],
) -> str | None:
    """One sentence where a gate that passes would not on new values, on the host; None otherwise, and on a GPU.

    That alone is no memory: a processor learns the branches of values that come again. What the race has told of new
    values is made sure of by single calls. `seeds` tells the seeds of each arm's draws.
    """
    if device.kind != "host" or not new.turned(judgements):
        return None
    medians = []
    with device.running("timing calls on new values"):
        for number, latency in enumerate((new.candidate_seconds, new.reference_seconds)):
            draws = functools.partial(seeds, number)
            calls, _, _ = time_calls(device, arms[number], workload, draws, latency, doubted=True)
            medians.append(float(np.median(calls.new)))
    return new.turned(judgements, medians[0] / medians[1])


def _lot(ends: tuple[int, int]) -> int:
    """A number between these two, which may be either; no seed tells it."""
    return ends[0] + secrets.randbelow(ends[1] + 1 - ends[0])


def _steps(new: tuple[Any, ...], known: Sequence[tuple[Any, ...]], current: tuple[Any, ...], same: int) -> _Steps:
    """A call on new values, with some on the same values behind it, and one on known values before or after these.

    `current` are those of the call before, which are not to come at once again.
    """
    others = [values for values in known if values is not current]
    steps = [("new", new), *[("same", new)] * same]
    again = ("again", secrets.choice(others or known))
    return [again, *steps] if others and secrets.randbelow(2) else [*steps, again]


def forget_branches() -> None:
    """Have the processor forget which branches it took, on the host."""
    np.sort(np.random.default_rng().random(_UNLEARNT), kind="stable")  # merges, by branches that nothing foretells


class Buffers:
    """Inputs and output at fixed addresses, into which the values of each call are written."""

    def __init__(self, device: Device, arm: Arm, workload: Workload, seed: int) -> None:
        self._arm = arm
        self._workload = workload
        self._device = torch.device(device.torch_device)
        self.inputs = workload.draw(seed)
        self.large = tree.size_bytes(self.inputs) > _LARGE_BYTES
        # `.data`, so that the version counters of the tensors stay.
        self._data = tree.mapped(self.inputs, lambda tensor: tensor.data if tree.has_span(tensor) else tensor)
        self._kept = tree.outside(self.inputs, self._device)
        self._output = workload.output_for(arm, self.inputs)

    def inputs_of(self, seed: int) -> tuple[Any, ...]:
        """A draw; what is not in the device's memory is that of the buffers."""
        values: tuple[Any, ...] = tree.with_outside(self._workload.draw(seed), self._kept, self._device)
        return values

    def write(self, values: tuple[Any, ...]) -> None:
        """Write these values to the inputs, and NaN to where the answer will be."""
        tree.write(self._data, values)
        if self._output is not None:
            poison(self._output)
        else:
            self._workload.clear_freed(self.inputs)
        prepare([self._arm], [self.inputs])

    def close(self) -> None:
        """Let go of what was prepared for calls on these inputs."""
        prepare([self._arm], [])

    def call(self) -> Any:
        """The result of one call on what the buffers hold."""
        return self._arm.call(self.inputs, self._output)


_Steps = list[tuple[str, tuple[Any, ...]]]
"""Of each call, `new`, `again` or `same`, and its values."""


def _copy(result: Any) -> Any:
    demand_data(result)  # not an object that computes now that its time is over
    return copied(result)


class _ByClock:
    """Times calls by the host's clock: seconds of a call of each kind, and a copy of the answer to the new values."""

    unlearns = False
    """Whether to have the processor forget, before calls on new values and on those that come again, which branches it
    took: it remembers those of several sets of values, and a sort of 500 numbers then takes a third of the time."""

    def __call__(self, buffers: Buffers, steps: _Steps) -> tuple[dict[str, float], Any]:
        times, answer = dict[str, float](), None
        for kind, values in steps:
            if self.unlearns and kind != "same":
                forget_branches()
            buffers.write(values)
            start = time.perf_counter()
            held = [buffers.call()]
            times[kind] = time.perf_counter() - start
            if kind == "new":
                answer = _copy(held[0])
            free(held)
        return times, answer


class _ByEvents:
    """Times calls by CUDA events: seconds of a call of each kind, and a copy of the answer to the new values.

    The steps of a pair are enqueued while a blocking kernel holds the stream, so that the host's time to launch is not
    measured; a candidate that waits for the GPU can't be queued so, and is not held a second time.
    """

    unlearns = False
    """Of no use: what a GPU's processors do does not depend on which branches were taken before."""

    def __init__(self, device: CudaContext) -> None:
        self._device = device
        self._waits = False

    def __call__(self, buffers: Buffers, steps: _Steps) -> tuple[dict[str, float], Any]:
        device = self._device
        events = [torch.cuda.Event(enable_timing=True) for _ in range(2 * len(steps))]
        answer = None
        if not self._waits:
            device.instruments.hold(device.stream)
        for number, (kind, values) in enumerate(steps):
            buffers.write(values)
            events[2 * number].record()
            held = [buffers.call()]
            events[2 * number + 1].record()
            if kind == "new":
                answer = _copy(held[0])
            free(held)
        device.instruments.release()
        device.wait()
        self._waits = self._waits or device.instruments.host_was_late()
        pairs = zip(steps, events[::2], events[1::2], strict=True)
        return {kind: start.elapsed_time(end) * 1e-3 for (kind, _), start, end in pairs}, answer
