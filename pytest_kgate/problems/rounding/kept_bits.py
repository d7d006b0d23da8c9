"""Whether an answer was rounded to a coarser type than its own on the way, told by its bits rather than by its error.

Such values end in zero bits. Where the reference's own error is large, as with products in TF32, theirs does not stand
out; that all of them end so is no chance, which for one number is 1 in 8,192.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_DROPPED = {torch.float32: 13, torch.float64: 29}
"""The bits at the end that are zero in each number of float16, TF32 and bfloat16, and of float32."""

_BFLOAT16_DROPPED = 16

_INTEGERS = {torch.float32: torch.int32, torch.float64: torch.int64}

_FAR = 8
"""A right value tells if it is further from all coarse ones than this part of the distance between two: then an honest
answer is not coarse by being off by little, as 1 is for 0.99999994."""

_MOST_COARSE = 0.9
"""Of the values that tell: at least so many are coarse in a rounded answer."""

_DISTINCT = 16
"""Right values that must differ among those that tell, so that it is no chance that all answers to them are coarse."""

_LOOKED_AT = 4096
"""Of the values that tell: how many are looked at to count distinct ones."""


def rounded_to(parts: Iterable[tuple[Tensor, Tensor]]) -> str:
    """What an answer's values were rounded to, in words; empty where they were not, or nothing tells.

    `parts` are those of the answer, each with the right values in the same type, which has 32 bits or 64, or two such
    numbers. The first part that tells of no rounding ends the search: an honest answer costs a pass over one part.
    """
    found: set[str] = set()
    for answer, right in parts:
        name = _of_part(_reals(answer), _reals(right))
        if name == "":
            return ""
        if name is not None:
            found.add(name)
    return max(found, key=len) if found else ""


def _of_part(answer: Tensor, right: Tensor) -> str | None:
    """As `rounded_to`; None where the right values do not tell."""
    step = 2 ** _DROPPED[right.dtype]
    low = _bits(right) & (step - 1)
    telling = (low >= step // _FAR) & (low <= step - step // _FAR) & right.isfinite()
    ends = _bits(answer)
    coarse = telling & (ends & (step - 1) == 0) & (answer != 0)  # zero is in all types, and says nothing of any
    shorter = coarse & (ends & (2**_BFLOAT16_DROPPED - 1) == 0)
    tell, rounded, in_bfloat16 = torch.stack([telling.sum(), coarse.sum(), shorter.sum()]).tolist()
    if tell < _DISTINCT:
        return None
    if rounded < _MOST_COARSE * tell:
        return ""
    values = right[telling]
    if values[:: max(1, tell // _LOOKED_AT)].unique().numel() < _DISTINCT:
        return None
    if right.dtype is torch.float64:
        return "float32"
    return "bfloat16" if in_bfloat16 == rounded else "10 bits of mantissa, as float16 and TF32 have"


def _reals(values: Tensor) -> Tensor:
    return torch.view_as_real(values.resolve_conj()) if values.is_complex() else values.resolve_neg()


def _bits(values: Tensor) -> Tensor:
    return values.view(_INTEGERS[values.dtype])
