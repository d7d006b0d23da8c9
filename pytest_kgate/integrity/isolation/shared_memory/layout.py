"""Where the inputs and outputs of a row of calls lie in one block of shared memory.

Each call has a slot: its inputs, then its output, with guard zones before, between and behind them.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

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
        extent = 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        item: int = getattr(torch, self.dtype).itemsize
        return extent * item


@dataclass(frozen=True)
class Layout:
    """The layout of a row of calls on tensors of the same shapes, strides and dtypes."""

    places: tuple[Place, ...]
    """Places of the inputs, then of the output."""
    slot_bytes: int
    calls: int

    @classmethod
    def of(cls, inputs: Sequence[Tensor], output: Tensor, calls: int) -> Layout:
        """A layout for `calls` calls with inputs and an output like these."""
        places = []
        end = _GUARD_BYTES
        for tensor in (*inputs, output):
            dtype = str(tensor.dtype).removeprefix("torch.")
            place = Place(tuple(tensor.shape), tuple(tensor.stride()), dtype, end)
            places.append(place)
            end += -(-place.nbytes // _ALIGNMENT) * _ALIGNMENT + _GUARD_BYTES
        return cls(tuple(places), end, calls)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole block."""
        return self.slot_bytes * self.calls

    def views(self, block: Tensor, call: int) -> tuple[tuple[Tensor, ...], Tensor]:
        """The inputs and the output of one call, as views of a block of bytes."""
        found = []
        for place in self.places:
            start = call * self.slot_bytes + place.offset
            flat = block[start : start + place.nbytes].view(getattr(torch, place.dtype))
            found.append(torch.as_strided(flat, place.shape, place.strides, flat.storage_offset()))
        return tuple(found[:-1]), found[-1]

    def columns(self, block: Tensor) -> tuple[Tensor, ...]:
        """For each input, a view (calls, elements) of it in all calls, from its first to its last element."""
        slots = block.view(self.calls, self.slot_bytes)
        return tuple(
            slots[:, place.offset : place.offset + place.nbytes].view(getattr(torch, place.dtype))
            for place in self.places[:-1]
        )

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
        return {"places": places, "slot_bytes": self.slot_bytes, "calls": self.calls}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Layout:
        """The layout of which `to_dict` gave these facts."""
        places = [Place(tuple(shape), tuple(strides), dtype, at) for shape, strides, dtype, at in facts["places"]]
        return cls(tuple(places), facts["slot_bytes"], facts["calls"])
