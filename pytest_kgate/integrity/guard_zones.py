"""Guard zones around a candidate's inputs and output during the check.

Before and behind every input lie bytes that read as NaN, so that a kernel which reads beyond an input has NaN in its
answer. Before and behind the output lies a pattern. All zones must be unchanged after a call, or the kernel wrote out
of bounds. A candidate that allocates its own output has zones at its inputs only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator
from torch import Tensor

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.protocol import Device
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import wrote_beyond
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.trees import tree
from pytest_kgate.problems.trees.tree import has_span
from pytest_kgate.problems.trees.tree import storage_span

ZONE_BYTES = 64 * 1024
"""The size of each zone: more than a tile of 128 rows of 256 bytes, which is what an off-by-one tile reads too much."""

_PATTERN = 0xA5
_NAN_BYTE = 0xFF
"""All bits set is NaN in every floating type, and -1 or the largest number in the integer types."""


class GuardZones:
    """Places a problem's inputs and a candidate's output between guard zones, and checks the zones after each call."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._inputs: list[_Guarded] = []
        """Those of the latest draw."""

    def problem(self, problem: Problem) -> Problem:
        """A copy of the problem, whose inputs are drawn between guard zones."""
        hard = problem.hard_inputs
        return dataclasses.replace(
            problem, inputs=self._guarded(problem.inputs), hard_inputs=None if hard is None else self._guarded(hard)
        )

    def arm(self, arm: Arm) -> Arm:
        """A copy of the candidate, whose calls raise `CandidateError` where they have written into a guard zone."""

        def call(inputs: tuple[Any, ...], output: Any) -> Any:
            if not isinstance(output, Tensor) or not has_span(output):
                result = arm.call(inputs, output)
                self._device.synchronize()
            else:
                guarded = _between_zones(output, _PATTERN)
                tree.write(guarded.inside, output)
                self._device.synchronize()  # the candidate may work on a stream that does not wait for this one
                result = arm.call(inputs, guarded.inside)
                self._device.synchronize()
                _demand_intact(guarded, "output")
            for position, one in enumerate(self._inputs):
                _demand_intact(one, f"input {position}")
            return result

        return Arm(arm.name, call, arm.takes_output)

    def _guarded(self, draw: Callable[[Generator], Any]) -> Callable[[Generator], Any]:
        def place(tensor: Tensor) -> Tensor:
            self._inputs.append(_between_zones(tensor, _NAN_BYTE))
            return self._inputs[-1].inside

        def guarded(generator: Generator) -> Any:
            drawn = draw(generator)
            self._inputs = []
            return tree.copy(tuple(drawn) if isinstance(drawn, (tuple, list)) else (drawn,), place)

        return guarded


@dataclass(frozen=True)
class _Guarded:
    """A tensor between two zones."""

    buffer: Tensor
    inside: Tensor
    byte: int
    """What fills the zones."""
    end: int
    """Where in the buffer the back zone begins."""
    shape: torch.Size


def _between_zones(tensor: Tensor, byte: int) -> _Guarded:
    """A buffer of bytes, and in its middle room for a copy of the tensor with the same strides."""
    extent, size = storage_span(tensor).numel(), tensor.element_size()
    buffer = torch.full(
        (ZONE_BYTES + -(-extent * size // ZONE_BYTES) * ZONE_BYTES + ZONE_BYTES,),
        byte,
        dtype=torch.uint8,
        device=tensor.device,
    )
    # The back zone begins right behind the tensor's last element, and so is longer than ZONE_BYTES.
    flat = buffer[ZONE_BYTES:].view(tensor.dtype)
    inside = torch.as_strided(flat, tensor.shape, tensor.stride(), flat.storage_offset())
    return _Guarded(buffer, inside, byte, ZONE_BYTES + extent * size, tensor.shape)


def _demand_intact(guarded: _Guarded, what: str) -> None:
    if guarded.inside.shape != guarded.shape:
        raise CandidateError(
            f"The candidate resized its {what} from {tuple(guarded.shape)} to {tuple(guarded.inside.shape)}.",
            "Write to the tensor as it is given, and resize a copy or a view of it.",
        )
    buffer, end = guarded.buffer, guarded.end
    for where, zone, start in (("before", buffer[:ZONE_BYTES], 0), ("behind", buffer[end:], end)):
        touched = zone != guarded.byte
        if bool(touched.any()):
            at = int(touched.nonzero()[0]) + start
            distance = ZONE_BYTES - at if where == "before" else at - end
            raise wrote_beyond(f"The candidate wrote {where} its {what}: the byte {distance} {where} it changed.")
