"""The ways in which a right answer is made into a wrong one, elementwise: each is what some faulty kernel would write.

`weakness.py` asks every check whether it would let these pass; `generic.py` makes mutants of them for `kgate selftest`.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from pytest_kgate.bench.correctness.comparison.arithmetic import Arithmetic
from pytest_kgate.bench.correctness.comparison.slabs import slabs
from pytest_kgate.problems.rounding import COARSER
from pytest_kgate.problems.rounding import name_of
from pytest_kgate.problems.rounding import rounded

_SCALE = 1.02

_TILE = 64


def zeros(answer: Tensor) -> Tensor:
    """Zeros everywhere: what a kernel that does nothing leaves in cleared memory."""
    return _everywhere(answer, torch.zeros((), dtype=answer.dtype, device=answer.device))


def constant(answer: Tensor) -> Tensor:
    """The mean of the answer in every element: the smallest rms error that one number everywhere can have."""
    arithmetic = Arithmetic.of(answer, answer.dtype)
    count = max(1, answer.numel())
    total = torch.zeros((), dtype=arithmetic.wide if arithmetic.inexact else torch.float64, device=answer.device)
    for slab in slabs(answer.shape):
        wide = arithmetic.widened(answer[slab.index])
        total += torch.where(wide.isfinite(), wide, 0.0).sum() if arithmetic.inexact else wide.double().sum()
    mean = total / count if arithmetic.inexact else (total / count).round().to(torch.int64)
    return _everywhere(answer, arithmetic.narrowed(mean))


def _everywhere(answer: Tensor, value: Tensor) -> Tensor:
    """One number as an answer, in memory for one number."""
    return value.expand(answer.shape)


def last_row_missing(answer: Tensor) -> Tensor:
    """Zeros in the last row: a grid that is one block too small for rows that do not fill the last block."""
    return _without_last_rows(answer, 1)


def last_tile_missing(answer: Tensor) -> Tensor:
    """Zeros in the last 64 rows, or in the last half of fewer: a tile that was never written."""
    return _without_last_rows(answer, max(1, min(_TILE, _rows(answer).shape[0] // 2)))


def row_late(answer: Tensor) -> Tensor:
    """Every row one place too far down, the last row first: an index that is off by one."""
    rows = _rows(answer)
    late = torch.empty_like(rows)  # copied, since no 8-bit float can be rolled on a GPU
    late[1:], late[:1] = rows[:-1], rows[-1:]
    return late.reshape(answer.shape)


def scaled(answer: Tensor) -> Tensor:
    """Every element 2 % too large; integers stay as they are."""
    arithmetic = Arithmetic.of(answer, answer.dtype)
    if not arithmetic.inexact:
        return answer
    return _by_slabs(answer, lambda part: arithmetic.narrowed(arithmetic.widened(part) * _SCALE))


def _by_slabs(answer: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """An elementwise change, whose own memory does not grow with the answer."""
    changed = torch.empty_like(answer)
    for slab in slabs(answer.shape):
        changed[slab.index] = change(answer[slab.index])
    return changed


def _without_last_rows(answer: Tensor, count: int) -> Tensor:
    rows = _rows(answer).clone()
    rows[rows.shape[0] - count :] = 0
    return rows.reshape(answer.shape)


def _rows(answer: Tensor) -> Tensor:
    """The answer as (rows, width), where a row is the last dimension; the elements of a vector are rows of one."""
    return answer.reshape(-1, answer.shape[-1] if answer.dim() > 1 else 1)


CHANGES: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "the last row missing": last_row_missing,
        "the last rows missing": last_tile_missing,
        "every row one late": row_late,
        f"{_SCALE - 1:.0%} too large": scaled,
    }
)
"""By name, the functions that make a right answer into a wrong one; one that changes nothing leaves it right."""


def coarse_outputs(dtype: torch.dtype) -> dict[str, Callable[[Tensor], Tensor]]:
    """By name, the function that rounds an answer to the next coarser type, as a kernel that computes in it would."""
    return {f"output in {name_of(low)}": _rounder(low) for low in COARSER.get(dtype, ())[:1]}


def _rounder(low: torch.dtype) -> Callable[[Tensor], Tensor]:
    return lambda answer: _by_slabs(answer, lambda part: rounded(part, low))
