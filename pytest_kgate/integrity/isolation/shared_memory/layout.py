"""Where the inputs and outputs of a row of calls lie in one block of shared memory.

Each call has a slot: its inputs, then its output, with guard zones before, between and behind them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.device.arm import InPlace
from pytest_kgate.integrity.isolation.shared_memory.messages import Message
from pytest_kgate.integrity.isolation.shared_memory.messages import described
from pytest_kgate.integrity.isolation.shared_memory.messages import tree_of
from pytest_kgate.problems.trees import tree

FILL = 0xFF
"""The byte that fills a new block, and so its guard zones; it reads as NaN in every floating type."""

_GUARD_BYTES = 4096
"""The least size of a guard zone."""

_ALIGNMENT = 512
"""Bytes; that of PyTorch's allocator on a GPU, and more than that on a CPU."""


@dataclass(frozen=True)
class Place:
    """The place of one tensor in a slot."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In elements."""
    dtype: str
    """Its name in torch, such as `float16`."""
    offset: int
    """Bytes from the begin of the slot."""

    @property
    def nbytes(self) -> int:
        """Bytes from the first to the last element; the tensor may have gaps, or overlap itself."""
        item: int = getattr(torch, self.dtype).itemsize
        return tree.extent(self.shape, self.strides) * item


@dataclass(frozen=True)
class Layout:
    """The layout of a row of calls on tensors of the same shapes, strides and dtypes."""

    places: tuple[Place, ...]
    """Places of the inputs' tensors, then of those of the output."""
    slot_bytes: int
    calls: int
    inputs: Message
    """How the inputs are built of them."""
    output: Message
    """How the answer is built of them, and of the inputs that a call changes."""

    @classmethod
    def of(cls, inputs: tuple[Any, ...], answer: Any, calls: int) -> Layout:
        """A layout for `calls` calls with inputs and an answer like these, of tensors of one device."""
        returned = answer.returned if isinstance(answer, InPlace) else answer
        device = next(tree.tensors((answer, inputs))).device
        places = []
        end = _GUARD_BYTES
        for tensor in tree.tensors((inputs, returned)):
            if tensor.device != device or not tree.has_span(tensor):
                continue
            dtype = str(tensor.dtype).removeprefix("torch.")
            place = Place(tuple(tensor.shape), tuple(tensor.stride()), dtype, end)
            places.append(place)
            end += -(-place.nbytes // _ALIGNMENT) * _ALIGNMENT + _GUARD_BYTES

        def here(tensor: Tensor) -> bool:
            return tensor.device == device

        mentioned = InPlace(returned, dict.fromkeys(answer.changed)) if isinstance(answer, InPlace) else answer
        return cls(tuple(places), end, calls, described(inputs, here), described(mentioned, here))

    @property
    def nbytes(self) -> int:
        """Bytes of the whole block."""
        return self.slot_bytes * self.calls

    def views(self, block: Tensor, call: int) -> tuple[tuple[Any, ...], Any]:
        """The inputs and the answer of one call, whose tensors are views of a block of bytes."""
        left = iter(self.places)

        def view() -> Tensor:
            place = next(left)
            start = call * self.slot_bytes + place.offset
            flat = block[start : start + place.nbytes].view(getattr(torch, place.dtype))
            return torch.as_strided(flat, place.shape, place.strides, flat.storage_offset())

        inputs = tree_of(self.inputs, view)
        return inputs, tree_of(self.output, view, inputs)

    def columns(self, block: Tensor) -> tuple[Tensor, ...]:
        """For each of the inputs' tensors, a view (calls, elements) of it in all calls, from its first element on."""
        slots = block.view(self.calls, self.slot_bytes)
        return tuple(
            slots[:, place.offset : place.offset + place.nbytes].view(getattr(torch, place.dtype))
            for place in self.places[: _mentions(self.inputs)]
        )

    def tensors(self, inputs: tuple[Any, ...], device: torch.device) -> list[Tensor]:
        """The tensors among these inputs that have a place in the block."""
        return [one for one in tree.tensors(inputs) if one.device == device and tree.has_span(one)]

    def first_overwritten(self, block: Tensor, call: int) -> int | None:
        """The first byte of a call's slot that lies in a guard zone and is not `FILL`; None where all are."""
        slot = block[call * self.slot_bytes : (call + 1) * self.slot_bytes]
        start = 0
        for place in (*self.places, None):
            end = self.slot_bytes if place is None else place.offset
            touched = slot[start:end] != FILL
            if bool(touched.any()):
                return start + int(touched.nonzero()[0])
            start = end if place is None else place.offset + place.nbytes
        return None

    def to_dict(self) -> dict[str, Any]:
        """Built-in types, from which `from_dict` makes the layout in another process."""
        places = [[list(one.shape), list(one.strides), one.dtype, one.offset] for one in self.places]
        kinds = {"inputs": self.inputs, "output": self.output}
        return {"places": places, "slot_bytes": self.slot_bytes, "calls": self.calls, **kinds}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Layout:
        """The layout of which `to_dict` gave these facts."""
        places = [Place(tuple(shape), tuple(strides), dtype, at) for shape, strides, dtype, at in facts["places"]]
        return cls(tuple(places), facts["slot_bytes"], facts["calls"], facts["inputs"], facts["output"])


def _mentions(message: Any) -> int:
    """How many tensors of the block a message mentions."""
    if isinstance(message, dict):
        return 1 if "tensor" in message else sum(map(_mentions, message.values()))
    return sum(map(_mentions, message)) if isinstance(message, list) else 0
