"""Large answers are compared slab by slab, so that what a comparison needs besides is small: float64 copies, masks."""

from __future__ import annotations

import ctypes
import itertools
import math
import sys
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

_SLAB_ELEMENTS = 2**17
"""1 MiB in float64, of which a comparison holds a dozen at once: they stay in a core's cache. Slabs of 8 MiB left holes
of 200 MiB in the heap, and were no faster."""

_GIVEN_BACK_ELEMENTS = 32 * _SLAB_ELEMENTS
"""After so many on the host what malloc has kept is given back: of blocks of several sizes, each freed at once, it kept
up to 600 MiB in comparisons of an answer of 48 MiB."""

_FEWEST_OF_GPU, _MOST_OF_GPU = 2**20, 2**23
"""On a GPU slabs are a part of the whole, within this: it computes so many elements in the time of twenty launches."""

_SLABS_OF_GPU = 16

_PIECE = 64
_LONGEST_ROW = 128
"""Longer rows are judged in pieces, so that a tile that is missing in one stands out."""


@dataclass(frozen=True)
class Slab:
    """A part of a tensor: whole pieces, as `pieces` cuts them, or a part of one piece."""

    index: tuple[Any, ...]
    """What selects it, as in `tensor[index]`."""
    start: int
    """Its first element, by number in C order."""
    piece: int
    """The number of its first piece."""


@dataclass(frozen=True)
class Parted:
    """An answer that is in no memory: its slabs are made as they are read."""

    part: Callable[[Slab], Tensor]
    """A slab's values."""


Answer: TypeAlias = Tensor | Parted
"""An answer as it is compared."""


def part_of(answer: Answer, slab: Slab) -> Tensor:
    """The values of an answer in a slab."""
    return answer.part(slab) if isinstance(answer, Parted) else answer[slab.index]


def slabs(shape: Sequence[int], device: torch.device | None = None) -> Iterator[Slab]:
    """Cut a tensor of this shape into slabs, in C order; `device` is where they are worked on, the host by default."""
    extents = list(shape)
    if not extents:
        yield Slab((), 0, 0)
        return
    most = _SLAB_ELEMENTS
    on_gpu = device is not None and device.type == "cuda"
    if on_gpu:
        most = max(_FEWEST_OF_GPU, min(_MOST_OF_GPU, math.prod(extents) // _SLABS_OF_GPU // _PIECE * _PIECE))
    axis = next(axis for axis in range(len(extents)) if math.prod(extents[axis + 1 :]) <= most)
    inner = math.prod(extents[axis + 1 :])
    step = max(1, most // max(1, inner))  # along the last axis a multiple of _PIECE
    leading = itertools.product(*(range(extent) for extent in extents[:axis]))
    worked_on = 0
    for number, place in enumerate(leading):
        for first in range(0, extents[axis], step):
            start = (number * extents[axis] + first) * inner
            yield Slab((*place, slice(first, first + step)), start, _piece_of(start, extents))
            worked_on += step * inner
            if worked_on >= _GIVEN_BACK_ELEMENTS and not on_gpu:
                worked_on = 0
                give_back_freed()


def give_back_freed() -> None:
    """Let glibc's malloc, which keeps what was in blocks below 32 MiB, give it back to the system."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def pieces(values: Tensor) -> Tensor:
    """Cut a tensor into pieces, (pieces, width): each is a row, several short rows, or a part of a long row."""
    extents = list(values.shape) or [1]
    if extents[-1] > _LONGEST_ROW:
        return F.pad(values, (0, -extents[-1] % _PIECE)).reshape(-1, _PIECE)
    width = _width(extents)
    return values.reshape(-1, width) if width else values.reshape(0, 1)


def count_pieces(shape: Sequence[int]) -> int:
    """How many pieces a tensor of this shape has."""
    extents = list(shape) or [1]
    if extents[-1] > _LONGEST_ROW:
        return math.prod(extents[:-1]) * -(-extents[-1] // _PIECE)
    width = _width(extents)
    return math.prod(extents) // width if width else 0


def slab_pieces(values: Tensor, shape: Sequence[int]) -> Tensor:
    """The pieces of a slab's values, of a tensor of this shape; a part of a piece counts as one."""
    extents = list(shape) or [1]
    if extents[-1] > _LONGEST_ROW:
        return F.pad(values, (0, -values.shape[-1] % _PIECE)).reshape(-1, _PIECE)
    width = _width(extents)
    return values.reshape(-1, width) if width and values.numel() % width == 0 else values.reshape(1, -1)


def as_numbers(found: list[Tensor]) -> list[Any]:
    """What was found of all slabs, as Python's numbers: brought from a GPU at once, since each trip is waited for."""
    numbers: list[Any] = torch.stack(found).tolist() if found else []
    return numbers


def furthest_of(values: Tensor) -> tuple[Tensor, Tensor]:
    """The largest value and its flat index, each as one number of float64 on the device."""
    flat = values.flatten()
    index = flat.argmax(keepdim=True)
    return flat[index], index.double()


def largest_of(values: Tensor) -> tuple[int, float]:
    """The flat index of the largest value, and that value."""
    index = int(values.argmax())
    return index, float(values.flatten()[index])


def largest_in_piece(parts: Iterable[tuple[Slab, Tensor]], shape: Sequence[int], piece: int) -> int:
    """The flat index of the largest value of a piece of a tensor of this shape, of which slabs are given."""
    place, most = 0, -1.0
    for slab, values in parts:
        cut = slab_pieces(values, shape)
        if not 0 <= piece - slab.piece < len(cut):
            continue
        at, value = largest_of(cut[piece - slab.piece])
        if value > most:
            numbers = torch.arange(values.numel(), device=values.device).reshape(values.shape)
            place, most = slab.start + int(slab_pieces(numbers, shape)[piece - slab.piece][at]), value
    return place


def _width(extents: Sequence[int]) -> int:
    """Elements of a piece of short rows."""
    left, width = list(extents), 1
    while left and width < _PIECE // 2:
        width *= left.pop()
    return width


def _piece_of(start: int, extents: Sequence[int]) -> int:
    if extents[-1] > _LONGEST_ROW:
        row, place = divmod(start, extents[-1])
        return row * -(-extents[-1] // _PIECE) + place // _PIECE
    return start // max(1, _width(extents))
