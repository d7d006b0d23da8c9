"""Work that the timer does not see: on another CUDA stream, on a GPU that a host timer waits for, after the return."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any
from typing import Protocol

import torch
from torch import Tensor

from pytest_kgate.device.answer import poison
from pytest_kgate.device.answer import tensors_of
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Workload
from pytest_kgate.problems.trees import tree

_HELD_SECONDS = 1e-3
"""How long the stream is held, at least, after the candidate's call has returned: a kernel on another stream starts
within it, as a copy there has ended after 0.1 ms on an H200."""

_LONGEST_HELD_SECONDS = 0.15
"""At most. Between the two it is twice what a call took before, so that what runs on another stream has ended."""

_READ_SECONDS = 0.15
"""How long another stream may take to run a call, and to read its output, while one is held."""

_TRIES = 2
"""Calls of each kind by which it is told whether a candidate keeps to the order of its stream."""

_PART_BYTES = 1 << 16
"""The size of each of the three parts of an output that are compared."""

_LATE_SECONDS = 12e-3
"""How long after a host call has returned its answer is compared again."""

_NOISE_SECONDS = 5e-6
"""A GPU that is waited for so much longer than an idle one is busy; shorter differences are the host's noise."""


class Verify(Protocol):
    """Compares answers that were given outside of the check with exact ones."""

    @property
    def checked(self) -> Sequence[int]:
        """Seeds of draws on which the check found the candidate right, like those that a race draws."""

    def __call__(self, inputs: tuple[Any, ...], answer: Any) -> str | None:
        """None where the answer to these inputs is right, or one clause that says how far off it is."""


def finishes_late(arm: Arm, workload: Workload, seed: int) -> str | None:
    """Call once on the host, and compare the answer's bytes at the return with those 12 ms later.

    Returns None, or one clause that says they differ: a thread went on with the work, and the timer had stopped.
    """
    inputs = workload.draw(seed)
    output = workload.output_for(arm, inputs)
    result = _outputs(arm.call(inputs, output))
    returned = [one.clone() for one in result]
    time.sleep(_LATE_SECONDS)
    return None if all(map(_same_bytes, returned, result)) else "its answer changed after the call had returned"


def works_elsewhere(device: CudaContext, arm: Arm, workload: Workload, seeds: tuple[int, int]) -> str | None:
    """Call while the stream is held by a blocking kernel, and read the output on another stream meanwhile.

    A kernel on another stream that does not wait for this one is timed by no event of this one. Returns None, or one
    clause that says that the output was complete while the stream could do nothing. None also where nothing can be
    learnt: the candidate waits for the GPU, or its answer does not depend on its inputs.
    """
    inputs = workload.draw(seeds[0])
    output = workload.output_for(arm, inputs)
    other = workload.draw(seeds[1])
    if tree.same_bytes(inputs, other):
        return None  # the answer is always the same one, and old memory may hold it
    blank = workload.make_answer(inputs)
    for place in workload.mutates:
        tree.fill(blank.changed[place], inputs[place])
    side = torch.cuda.Stream(device.index)
    arm.call(other, output)  # what is allocated or loaded once would wait for the held stream
    device.synchronize()
    start = time.perf_counter()
    answer = _outputs(arm.call(other, output))
    device.synchronize()
    held_seconds = min(max(_HELD_SECONDS, 2 * (time.perf_counter() - start)), _LONGEST_HELD_SECONDS)
    stale = _bytes(_parts(answer))
    del answer
    if output is not None:
        poison(output)
    device.synchronize()
    with torch.cuda.stream(side):
        parts = _parts(tree.tensors(blank))
        before = _bytes(parts)
    held = torch.empty_like(parts, device="cpu", pin_memory=True)
    del blank, parts
    device.synchronize()
    device.instruments.hold(device.stream)
    result = _outputs(arm.call(inputs, output))
    time.sleep(held_seconds)
    in_time = _read(result, held, side)
    device.instruments.release()
    device.synchronize()
    if device.instruments.host_was_late() or not in_time:
        return None  # the call waits for the GPU, or the memory could not be read meanwhile: nothing was learnt
    after = _bytes(_parts(result))
    if after == stale:
        return None  # both inputs have this answer, which old memory may hold
    if _bytes(held) == after != before:
        return "its answer was there while the stream that it was called on was held: the work is done elsewhere"
    return None


def ends_on_default_stream(device: CudaContext, arm: Arm, workload: Workload, seeds: tuple[int, int]) -> bool:
    """Call while CUDA's default stream is held, and read the output once the stream of the call has nothing to do.

    Whether it changes later: then the work is done on the default stream, or on one that waits for it, and the stream
    of the call does not wait for either. False where nothing can be learnt.
    """
    inputs, other = workload.draw(seeds[0]), workload.draw(seeds[1])
    output = workload.output_for(arm, inputs)
    side = torch.cuda.Stream(device.index)
    # On other inputs, so that memory which is used again does not hold the answer already.
    held = torch.empty_like(_parts(_outputs(arm.call(other, output))), device="cpu", pin_memory=True)
    if output is not None:
        poison(output)
    device.synchronize()
    device.instruments.hold(torch.cuda.default_stream(device.index))
    result = _outputs(arm.call(inputs, output))
    called = torch.cuda.Event()
    called.record(device.stream)
    in_time = _ended(called) and _read(result, held, side)
    device.instruments.release()
    device.synchronize()
    if device.instruments.host_was_late() or not in_time:
        return False
    return _bytes(held) != _bytes(_parts(result))


def out_of_order(
    device: Device, arm: Arm, workload: Workload, seeds: Callable[[int], int], verify: Verify
) -> str | None:
    """Whether calls are right only where the GPU is waited for around each of them; None, or one clause.

    Some of their work then runs on another stream, and there before the inputs are written, or after the answer is
    read. Each kind of call is made twice, and must come out the same: what changes by chance is no matter of streams.
    None on a host, which has none. The device's stream must be current.
    """
    if not isinstance(device, CudaContext):
        return None
    inputs = workload.draw(seeds(0))
    output = workload.output_for(arm, inputs)
    arm.call(inputs, output)
    for number in range(1, 1 + 2 * _TRIES):
        waited_for = bool(number % 2)
        values = workload.draw(seeds(number))
        device.synchronize()
        if not waited_for:
            device.instruments.hold(device.stream)
        tree.write(inputs, values)
        if waited_for:
            device.synchronize()
        answer = arm.call(inputs, output)
        if waited_for:
            device.synchronize()
        kept = tree.clone(answer)
        device.instruments.release()
        device.synchronize()
        if device.instruments.host_was_late() and not waited_for:
            return None
        if workload.mutates:
            tree.write(inputs, values)
        if (verify(inputs, kept) is None) is not waited_for:
            return None
    return (
        "its calls are right only where the GPU is waited for before and after each, so some of the work runs on "
        "another stream, which does not wait for the one that the call is made on, or is not waited for"
    )


def _outputs(answer: Any) -> list[Tensor]:
    return list(tensors_of(answer).values())


def _read(result: Iterable[Tensor], into: Tensor, side: torch.cuda.Stream) -> bool:
    """Copy a result's bytes to memory of the host on a stream of their own; whether that was done soon enough."""
    with torch.cuda.stream(side):
        into.copy_(_parts(result), non_blocking=True)
        read = torch.cuda.Event()
        read.record(side)
    return _ended(read)


def _ended(event: torch.cuda.Event) -> bool:
    """Whether a stream comes to this event in a while that is short against what a stream can be held."""
    start = time.perf_counter()
    while not event.query() and time.perf_counter() - start < _READ_SECONDS:
        time.sleep(50e-6)
    return bool(event.query())


def _parts(outputs: Iterable[Tensor]) -> Tensor:
    """The bytes of beginning, middle and end of each, `_PART_BYTES` long, which tell whether it has been written."""
    return torch.cat([_parts_of(one) for one in outputs])


def _parts_of(tensor: Tensor) -> Tensor:
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    if flat.numel() <= 3 * _PART_BYTES:
        return flat
    middle = (flat.numel() - _PART_BYTES) // 2
    return torch.cat([flat[:_PART_BYTES], flat[middle : middle + _PART_BYTES], flat[-_PART_BYTES:]])


def _bytes(parts: Tensor) -> bytes:
    """On the host, where PyTorch would compare so many with all its workers: to wake them took 5 ms on an H200's."""
    return parts.cpu().numpy().tobytes()


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    """Of the elements alone, unlike `tree.same_bytes`: a clone has other bytes in the gaps between them, or none."""
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
