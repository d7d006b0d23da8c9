"""Work that the timer does not see: on another CUDA stream, on a GPU that a host timer waits for, after the return."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.device.protocol import Workload

_HELD_SECONDS = 2e-3
"""How long the stream is held after the candidate's call has returned: a kernel on another stream starts within it."""

_READ_SECONDS = 0.2
"""How long the read of the output on another stream may take, while the candidate's stream is held."""

_PART_BYTES = 1 << 16
"""The size of each of the three parts of an output that are compared."""

_LATE_SECONDS = 10e-3
"""How long after a host call has returned its answer is compared again, besides `_HELD_SECONDS`."""

_NOISE_SECONDS = 5e-6
"""A GPU that is waited for so much longer than an idle one is busy; shorter differences are the host's noise."""


def finishes_late(arm: Arm, workload: Workload, seed: int) -> str | None:
    """Call once on the host, and compare the answer's bytes at the return with those 12 ms later.

    Returns None, or one clause that says they differ: a thread went on with the work, and the timer had stopped.
    """
    inputs = workload.draw(seed)
    output = workload.output_for(arm, inputs)
    result = arm.call(inputs, output)
    if not isinstance(result, Tensor):
        return None
    returned = result.clone()
    time.sleep(_HELD_SECONDS + _LATE_SECONDS)
    return None if _same_bytes(returned, result) else "its answer changed after the call had returned"


def works_elsewhere(device: CudaContext, arm: Arm, workload: Workload, seeds: tuple[int, int]) -> str | None:
    """Call while the stream is held by a blocking kernel, and read the output on another stream meanwhile.

    A kernel on another stream that does not wait for this one is timed by no event of this one. Returns None, or one
    clause that says that the output was complete while the stream could do nothing. None also where nothing can be
    learnt: the candidate waits for the GPU, or its answer does not depend on its inputs.
    """
    inputs = workload.draw(seeds[0])
    output = workload.output_for(arm, inputs)
    other = workload.draw(seeds[1])
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
    while not read.query() and time.perf_counter() - start < _READ_SECONDS:
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
    """The bytes of its beginning, middle and end, `_PART_BYTES` each, which tell whether it has been written."""
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    if flat.numel() <= 3 * _PART_BYTES:
        return flat
    middle = (flat.numel() - _PART_BYTES) // 2
    return torch.cat([flat[:_PART_BYTES], flat[middle : middle + _PART_BYTES], flat[-_PART_BYTES:]])


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    one, other = (tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other))
    return bool(torch.equal(one, other))


def leaves_gpu_busy(call: Callable[[], Any]) -> str | None:
    """Whether a call that the host's clock times leaves work on a GPU behind; None, or one clause.

    Waits for the current GPU after a call and after none, three times each.
    """
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
    if left < 2 * idle + _NOISE_SECONDS:
        return None
    return f"a GPU is busy for {left * 1e6:.0f} us after each call, and the host's clock was read before"
