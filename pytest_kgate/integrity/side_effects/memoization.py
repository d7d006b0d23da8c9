"""Memoization: whether a candidate answers values that it has seen before faster than new ones, or with old answers."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.device.answer import poison
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Workload
from pytest_kgate.problems import tree
from pytest_kgate.problems.tree import write_span

_FEWEST_PAIRS, _MOST_PAIRS = 4, 7
"""Pairs of a call on new values and a call on the same values again; drawn, so that no candidate knows the last one."""

_MEMOIZED_RATIO = 1.5
"""The fastest call on new values over the slowest on repeated ones, above which the candidate memoizes. An honest
kernel takes the same time for both: before either, values are copied into the same buffers."""

_MEMOIZED_SECONDS = 5e-6
"""The least difference of the two, in seconds: below it clocks and launches decide."""


@dataclass(frozen=True)
class PairedCalls:
    """Latencies of pairs of calls: on new values, then on the same values once more."""

    new: tuple[float, ...]
    """Seconds of each call on new values."""
    repeated: tuple[float, ...]
    """Seconds of each call on the values of the call before."""

    @property
    def memoizes(self) -> bool:
        """Whether each call on new values took clearly longer than any on repeated ones."""
        slow, fast = min(self.new), max(self.repeated)
        return slow > _MEMOIZED_RATIO * fast and slow - fast > _MEMOIZED_SECONDS


def time_new_values(
    device: Device, arm: Arm, workload: Workload, seeds: Callable[[int], int]
) -> tuple[PairedCalls, tuple[Any, ...], Any]:
    """Time pairs of calls on inputs in the same buffers: new values are copied in, then the same values once more.

    `seeds` tells the seed of each draw. The copies leave no trace in PyTorch's version counters. Also returns the
    inputs as they are in the end, and the answer of the last call on new values, which must fit them.
    """
    pairs = _FEWEST_PAIRS + secrets.randbelow(_MOST_PAIRS + 1 - _FEWEST_PAIRS)
    inputs = workload.draw(seeds(0))
    output = workload.output_for(arm, inputs)
    answers: list[Any] = [None, None]
    arm.call(inputs, output)
    device.synchronize()

    def draw(index: int) -> tuple[Any, ...]:
        return workload.draw(seeds(1 + index))

    def refill(values: tuple[Any, ...]) -> None:
        _refill(inputs, values)
        if output is not None:
            poison(output)

    def call(which: int) -> None:
        answers[which] = arm.call(inputs, output)

    def keep() -> None:
        answers[0] = tree.clone(answers[0])

    if isinstance(device, CudaContext):
        times = _by_events(device, call, draw, refill, keep, pairs)
    else:
        times = _by_clock(call, draw, refill, keep, pairs)
    device.synchronize()  # what runs on a stream of its own must not write into memory that is given back below
    if workload.mutates:
        _refill(inputs, draw(pairs - 1))
    return PairedCalls(tuple(times[0]), tuple(times[1])), inputs, answers[0]


def _refill(inputs: tuple[Any, ...], values: tuple[Any, ...]) -> None:
    for tensor, value in zip(inputs, values, strict=True):
        if isinstance(tensor, Tensor) and tensor.numel() and tensor.stride() == value.stride():
            write_span(tensor.data, value)  # `.data`, so that the tensor's version counter stays


def _by_clock(
    call: Callable[[int], None],
    draw: Callable[[int], tuple[Any, ...]],
    refill: Callable[[tuple[Any, ...]], None],
    keep: Callable[[], None],
    pairs: int,
) -> tuple[list[float], list[float]]:
    """Seconds of calls on new and on repeated values, by the host's clock."""
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(pairs):
        values = draw(index)
        for which in range(2):
            refill(values)
            start = time.perf_counter()
            call(which)
            times[which].append(time.perf_counter() - start)
            if which == 0:
                keep()
    return times


def _by_events(
    device: CudaContext,
    call: Callable[[int], None],
    draw: Callable[[int], tuple[Any, ...]],
    refill: Callable[[tuple[Any, ...]], None],
    keep: Callable[[], None],
    pairs: int,
) -> tuple[list[float], list[float]]:
    """Seconds of calls on new and on repeated values, by CUDA events.

    Each pair is enqueued while a blocking kernel holds the stream, so that the host's time to launch is not measured.
    """
    times: tuple[list[float], list[float]] = ([], [])
    events = [torch.cuda.Event(enable_timing=True) for _ in range(4)]
    waits = False
    for index in range(pairs):
        values = draw(index)  # not while the stream is held: what draws may wait for the GPU
        if not waits:
            device.instruments.hold(device.stream)
        for which in range(2):
            refill(values)
            events[2 * which].record()
            call(which)
            events[2 * which + 1].record()
            if which == 0:
                keep()
        device.instruments.release()
        device.wait()
        waits = waits or device.instruments.host_was_late()  # a candidate that waits for the GPU can't be queued
        for which in range(2):
            times[which].append(events[2 * which].elapsed_time(events[2 * which + 1]) * 1e-3)
    return times
