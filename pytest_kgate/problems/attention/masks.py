"""The mask of an attention problem, made once and kept, so that no timed call builds it."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from pytest_kgate.problems.attention.exact import hidden_by
from pytest_kgate.problems.shape import Shape

_ALIGNED = 16
"""Elements: rows of a mask begin at multiples of them, or PyTorch's efficient backend copies it at each call."""


def rows_without_key(shape: Shape) -> int:
    """How many rows see no key: those at the start, where there are more rows than keys."""
    return next(row for row in range(shape.seqlen) if shape.visible(row))


def hides(shape: Shape) -> bool:
    """Whether the mask hides a key from a row that sees one."""
    first = shape.visible(rows_without_key(shape))
    return len(first) < shape.keys or len(shape.visible(shape.seqlen - 1)) < shape.keys


def is_square(shape: Shape) -> bool:
    """Whether the rows that see a key are a causal problem of as many rows as keys, and no more than that."""
    rows = shape.seqlen - rows_without_key(shape)
    return shape.causal and rows == shape.keys and (shape.window is None or shape.window >= rows)


@functools.lru_cache(maxsize=2)
def additive(shape: Shape, element: torch.dtype, device: torch.device) -> Tensor:
    """0 where a row sees a key and -inf where not, `(rows, keys)`, of the rows that see one.

    Only a problem's latest few are kept: one alone may be as large as all of its inputs.
    """
    first = rows_without_key(shape)
    rows, keys = shape.seqlen - first, shape.keys
    mask = torch.zeros(rows, -(-keys // _ALIGNED) * _ALIGNED, dtype=element, device=device)[:, :keys]
    hidden = hidden_by(shape.window, is_causal=shape.causal)
    assert hidden is not None
    places = torch.arange(first, shape.seqlen, device=device)[:, None] + keys - shape.seqlen
    return mask.masked_fill_(hidden(places, torch.arange(keys, device=device)[None, :]), -math.inf)
