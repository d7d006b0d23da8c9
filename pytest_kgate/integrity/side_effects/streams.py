"""How a candidate behaves around its calls: on which stream it works, whether it remembers, what goes on behind it."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Workload
from pytest_kgate.integrity.guard_zones import span
from pytest_kgate.system import procfs

_PAIRS = (4, 8)
"""Calls on new values and on the same ones again: from 4 to 7 pairs, so that nobody knows which is the last."""

_REMEMBERED = 1.5
"""The fastest call on new values against the slowest on old ones, above which the candidate remembers. To an honest
kernel they are alike: before both, values are copied into the same buffers."""

_REMEMBERED_SECONDS = 5e-6
"""And by so much: below it clocks and launches decide."""

_HELD_SECONDS = 2e-3
"""How long the stream is held beyond the candidate's call; a kernel elsewhere has begun long before."""

_PART_BYTES = 1 << 16

_LATE_SECONDS = 10e-3
"""After a call on the host, before its answer is looked at again."""

_QUIET_STEP_SECONDS = 3e-3
_QUIET_SECONDS = 0.6
"""Worker threads spin for a while after their last task, Intel's OpenMP for 0.2 s; then they sleep."""

_BUSY = 0.2
"""Share of a core that a process may use while its main thread sleeps; other plugins' threads use less."""


@dataclass(frozen=True)
class Fresh:
    """Seconds of calls on new values and of the calls after each of them, on the same values."""

    new: tuple[float, ...]
    same: tuple[float, ...]

    @property
    def remembers(self) -> bool:
        """Whether each call on new values took clearly longer than any on old ones."""
        slow, fast = min(self.new), max(self.same)
        return slow > _REMEMBERED * fast and slow - fast > _REMEMBERED_SECONDS


def new_values(device: Any, arm: Arm, workload: Workload, seed: int) -> tuple[Fresh, tuple[Any, ...], Any]:
    """Time pairs of calls on inputs in the same buffers: new values are copied in, then the same values once more.

    Also returns the inputs as they are in the end, and what the last call on new values answered.
    """
    pairs = _PAIRS[0] + secrets.randbelow(_PAIRS[1] - _PAIRS[0])
    inputs = workload.draw(seed)
    output = workload.output_for(arm, inputs)
    poison = None if output is None else output.clone()
    draws = [workload.draw(seed + 1 + index) for index in range(pairs)]
    answers: list[Any] = [None, None]
    arm.call(inputs, output)
    device.synchronize()

    def refill(index: int) -> None:
        _refill(inputs, draws[index])
        if output is not None:
            output.copy_(poison)

    def call(which: int) -> None:
        answers[which] = arm.call(inputs, output)

    def keep() -> None:
        answers[0] = answers[0].clone() if isinstance(answers[0], Tensor) else answers[0]

    timed = _on_stream if isinstance(device, CudaContext) else _on_clock
    times = timed(device, call, refill, keep, pairs)
    device.synchronize()  # what runs on a stream of its own must not write into memory that is given back below
    return Fresh(tuple(times[0]), tuple(times[1])), inputs, answers[0]


def _refill(inputs: tuple[Any, ...], values: tuple[Any, ...]) -> None:
    for tensor, value in zip(inputs, values, strict=True):
        if isinstance(tensor, Tensor) and tensor.numel() and tensor.stride() == value.stride():
            span(tensor.data).copy_(span(value))  # which the tensor's count of changes does not show


def _on_clock(
    device: Device, call: Callable[[int], None], refill: Callable[[int], None], keep: Callable[[], None], pairs: int
) -> tuple[list[float], list[float]]:
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(pairs):
        for which in range(2):
            refill(index)
            start = time.perf_counter()
            call(which)
            times[which].append(time.perf_counter() - start)
            if which == 0:
                keep()
    return times


def _on_stream(
    device: Any, call: Callable[[int], None], refill: Callable[[int], None], keep: Callable[[], None], pairs: int
) -> tuple[list[float], list[float]]:
    """Enqueued while the stream is held, so that no launch is waited for."""
    times: tuple[list[float], list[float]] = ([], [])
    events = [torch.cuda.Event(enable_timing=True) for _ in range(4)]
    waits = False
    for index in range(pairs):
        if not waits:
            device.instruments.hold(device.stream)
        for which in range(2):
            refill(index)
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


def finishes_late(arm: Arm, workload: Workload, seed: int) -> str | None:
    """Whether an answer on the host still changes once the call has returned; None, or one clause."""
    inputs = workload.draw(seed)
    output = workload.output_for(arm, inputs)
    result = arm.call(inputs, output)
    if not isinstance(result, Tensor):
        return None
    returned = result.clone()
    time.sleep(_HELD_SECONDS + _LATE_SECONDS)
    return None if _same_bytes(returned, result) else "its answer changed after the call had returned"


def works_elsewhere(device: Any, arm: Arm, workload: Workload, seed: int) -> str | None:
    """Hold the stream, call, and see whether the answer is there all the same; None, or one clause.

    A kernel on another stream that does not wait for this one is timed by no event of this one.
    """
    inputs = workload.draw(seed)
    output = workload.output_for(arm, inputs)
    other = workload.draw(seed + 1)
    if all(torch.equal(one, two) for one, two in zip(inputs, other, strict=True) if isinstance(one, Tensor)):
        return None  # the answer is always the same one, and old memory may hold it
    blank = workload.make_output(inputs)
    side = torch.cuda.Stream(device.index)
    arm.call(other, output)  # what is allocated or loaded once would wait for the held stream
    if output is not None:
        output.copy_(blank)
    device.synchronize()
    with torch.cuda.stream(side):
        before = _parts(blank).cpu()
    held = torch.empty_like(before, pin_memory=True)
    del blank
    device.synchronize()
    device.instruments.hold(device.stream)
    result = arm.call(inputs, output)
    time.sleep(_HELD_SECONDS)
    if not isinstance(result, Tensor) or not result.numel():
        device.instruments.release()
        device.wait()
        return None
    with torch.cuda.stream(side):
        held.copy_(_parts(result), non_blocking=True)
        read = torch.cuda.Event()
        read.record(side)
    start = time.perf_counter()
    while not read.query() and time.perf_counter() - start < 0.2:
        time.sleep(50e-6)
    in_time = read.query()
    device.instruments.release()
    device.synchronize()
    if device.instruments.host_was_late() or not in_time:
        return None  # the call waits for the GPU, or the memory could not be read meanwhile: nothing was learnt
    after = _parts(result).cpu()
    if torch.equal(held, after) and not torch.equal(held, before):
        return "its answer was there while the stream that it was called on was held: the work is done elsewhere"
    return None


def _parts(tensor: Tensor) -> Tensor:
    """The bytes of its beginning, middle and end, which tell whether it has been written."""
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    if flat.numel() <= 3 * _PART_BYTES:
        return flat
    middle = (flat.numel() - _PART_BYTES) // 2
    return torch.cat([flat[:_PART_BYTES], flat[middle : middle + _PART_BYTES], flat[-_PART_BYTES:]])


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    one, other = (tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other))
    return bool(torch.equal(one, other))


def leaves_gpu_busy(call: Callable[[], Any]) -> str | None:
    """Whether a call that a host's clock timed has left work on a GPU; None, or one clause."""
    if not torch.cuda.is_initialized():
        return None
    waits: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(3):
        for called in (False, True):
            if called:
                call()
            start = time.perf_counter()
            torch.cuda.synchronize()
            waits[called].append(time.perf_counter() - start)
    idle, left = max(waits[False]), min(waits[True])
    if left < 2 * idle + _REMEMBERED_SECONDS:
        return None
    return f"a GPU is busy for {left * 1e6:.0f} us after each call, and the host's clock was read before"


def host_seconds(device: Device, call: Callable[[], Any]) -> float:
    """What one call costs the host until it returns: the least of five."""
    found = []
    for _ in range(5):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
        device.synchronize()
    return float(np.min(found))


def goes_on(device: Device) -> str | None:
    """Whether something of this process works while its main thread sleeps; None, or one clause."""
    threads: dict[str, float] | None = None
    busy = 0.0
    start = time.perf_counter()
    while time.perf_counter() - start < _QUIET_SECONDS:
        used, at = time.process_time(), time.perf_counter()
        time.sleep(_QUIET_STEP_SECONDS)
        busy = (time.process_time() - used) / (time.perf_counter() - at)
        if busy < _BUSY and not _runnable():
            return None
        threads = threads or _thread_seconds()  # not before something goes on: it takes 10 ms where there are hundreds
    after, threads = _thread_seconds(), threads or {}
    working = [name for name, seconds in after.items() if seconds - threads.get(name, 0.0) > 0.1]
    named = f" (threads: {', '.join(working)})" if working else ""
    return f"{busy:.1f} cores of this process are busy while it waits{named}"


def python_threads() -> frozenset[int]:
    """The identities of the threads that Python knows."""
    return frozenset(thread.ident for thread in threading.enumerate() if thread.ident is not None)


def new_threads(before: frozenset[int]) -> list[str]:
    """The names of threads that were not there before and live."""
    return sorted(thread.name for thread in threading.enumerate() if thread.ident not in before)


def _runnable() -> bool:
    """Whether another thread of this process runs or would, if it had a core; no where the system does not tell."""
    own = threading.get_native_id()
    return any(thread != own and fields[0] == "R" for thread, _, fields in procfs.threads())


def _thread_seconds() -> dict[str, float]:
    """CPU seconds of each thread of this process, where the system tells."""
    tick = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    return {f"{name} {thread}": (int(fields[11]) + int(fields[12])) / tick for thread, name, fields in procfs.threads()}
