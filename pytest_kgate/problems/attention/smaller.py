"""A smaller attention that takes the same paths, for runs that are hundreds of times slower: compute-sanitizer's."""

from __future__ import annotations

from dataclasses import replace

from pytest_kgate.problems.shape import Shape

_ROWS = 256
"""And as many keys: several tiles."""

_LARGEST_TILE = 128
"""Rows; what is left over after whole tiles of 128 is left over after whole tiles of 64 and 32 too."""


def smaller(shape: Shape) -> Shape:
    """The shape with at most two batches and heads of keys and some 256 rows and keys, last tiles as full as here.

    As many heads share one of keys, a mask that hides something still does, and what has fewer rows than keys, or more,
    keeps that.
    """
    rows, keys, window = _fewer(shape.seqlen), _fewer(shape.keys), shape.window
    if shape.seqlen <= shape.keys and rows > keys:
        keys += _LARGEST_TILE
    if shape.seqlen >= shape.keys and rows < keys:
        rows += _LARGEST_TILE
    if window is not None and (rows, keys) != (shape.seqlen, shape.keys) and window > _LARGEST_TILE:
        window = _LARGEST_TILE + window % _LARGEST_TILE
    key_heads = min(shape.key_heads, 2)
    return replace(
        shape,
        batch=min(shape.batch, 2),
        heads=key_heads * shape.group,
        kv_heads=key_heads,
        seqlen=rows,
        kv_seqlen=keys,
        window=window,
    )


def _fewer(count: int) -> int:
    return count if count <= _ROWS else _ROWS + count % _LARGEST_TILE
