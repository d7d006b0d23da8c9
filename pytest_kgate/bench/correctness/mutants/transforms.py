"""The ways in which a right answer is made into a wrong one, slab by slab: each is what some faulty kernel would write.

`weakness.py` asks every check whether it would let these pass; `generic.py` makes mutants of them for `kgate selftest`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from pytest_kgate.bench.correctness.comparison.arithmetic import Arithmetic
from pytest_kgate.bench.correctness.comparison.slabs import Slab
from pytest_kgate.bench.correctness.comparison.slabs import slabs
from pytest_kgate.problems.rounding.coarser import COARSER
from pytest_kgate.problems.rounding.coarser import name_of
from pytest_kgate.problems.rounding.coarser import rounded

_SCALE = 1.02

_TILE = 64


At: TypeAlias = Callable[[Any], Tensor]
"""An answer as the function from an index to its part, or its element: of a tensor, `answer.__getitem__`."""

Change: TypeAlias = Callable[[At, Sequence[int], Slab], Tensor]
"""Of an answer and its shape: what a slab of it is changed into."""


def zeros(like: Tensor) -> Tensor:
    """Zeros everywhere: what a kernel that does nothing leaves in cleared memory."""
    return torch.zeros((), dtype=like.dtype, device=like.device).expand(like.shape)


def constant(at: At, like: Tensor) -> Tensor:
    """The mean of the answer in every element: the smallest rms error that one number everywhere can have.

    `like` has the answer's shape, dtype and device. The result is in memory for one number.
    """
    arithmetic = Arithmetic.of(like, like.dtype)
    count = max(1, like.numel())
    total = torch.zeros((), dtype=arithmetic.wide if arithmetic.inexact else torch.float64, device=like.device)
    for slab in slabs(like.shape, like.device):
        wide = arithmetic.widened(at(slab.index))
        total += torch.where(wide.isfinite(), wide, 0.0).sum() if arithmetic.inexact else wide.double().sum()
    mean = total / count if arithmetic.inexact else (total / count).round().to(torch.int64)
    return arithmetic.narrowed(mean).expand(like.shape)


def changed(answer: Tensor, change: Change) -> Tensor:
    """A changed copy of an answer."""
    found = torch.empty_like(answer)
    for slab in slabs(answer.shape, answer.device):
        found[slab.index] = change(answer.__getitem__, answer.shape, slab)
    return found


def last_row_missing(at: At, shape: Sequence[int], slab: Slab) -> Tensor:
    """Zeros in the last row: a grid that is one block too small for rows that do not fill the last block."""
    return _without_last_rows(at, shape, slab, 1)


def last_tile_missing(at: At, shape: Sequence[int], slab: Slab) -> Tensor:
    """Zeros in the last 64 rows, or in the last half of fewer: a tile that was never written."""
    return _without_last_rows(at, shape, slab, max(1, min(_TILE, _rows(shape) // 2)))


def row_late(at: At, shape: Sequence[int], slab: Slab) -> Tensor:
    """Every row one place too far down, the last row first: an index that is off by one."""
    part = at(slab.index)
    before = np.unravel_index((slab.start // _width(shape) - 1) % _rows(shape), _extents(shape))
    first = at(tuple(int(place) for place in before))
    if len(slab.index) == len(shape) > 1:  # a part of a row
        return first[slab.index[-1]]
    rows = part.reshape(-1, _width(shape))
    late = torch.empty_like(rows)  # copied, since no 8-bit float can be rolled on a GPU
    late[1:], late[0] = rows[:-1], first
    return late.reshape(part.shape)


def scaled(at: At, shape: Sequence[int], slab: Slab) -> Tensor:
    """Every element 2 % too large; integers stay as they are."""
    part = at(slab.index)
    arithmetic = Arithmetic.of(part, part.dtype)
    return arithmetic.narrowed(arithmetic.widened(part) * _SCALE) if arithmetic.inexact else part


def _without_last_rows(at: At, shape: Sequence[int], slab: Slab, count: int) -> Tensor:
    part = at(slab.index).clone(memory_format=torch.contiguous_format)
    kept = max(0, _rows(shape) - count - slab.start // _width(shape))
    if len(slab.index) == len(shape) > 1:  # a part of a row
        return part if kept else part.zero_()
    part.view(-1, _width(shape))[kept:] = 0
    return part


def _extents(shape: Sequence[int]) -> tuple[int, ...]:
    """Of the rows. A row is the last dimension; the elements of a vector are rows of one."""
    return tuple(shape[:-1]) if len(shape) > 1 else tuple(shape)


def _rows(shape: Sequence[int]) -> int:
    return math.prod(_extents(shape))


def _width(shape: Sequence[int]) -> int:
    return shape[-1] if len(shape) > 1 else 1


CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        "the last row missing": last_row_missing,
        "the last rows missing": last_tile_missing,
        "every row one late": row_late,
        f"{_SCALE - 1:.0%} too large": scaled,
    }
)
"""By name, the functions that make a right answer into a wrong one; one that changes nothing leaves it right."""


def coarse_outputs(dtype: torch.dtype) -> dict[str, Change]:
    """Functions, by name, that round an answer to the next coarser type, as a kernel that computes in it would."""
    return {f"output in {name_of(low)}": _rounder(low) for low in COARSER.get(dtype, ())[:1]}


def _rounder(low: torch.dtype) -> Change:
    return lambda at, shape, slab: rounded(at(slab.index), low)
