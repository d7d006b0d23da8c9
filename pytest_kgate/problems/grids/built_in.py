"""The grids that have names. Shapes are (batch, heads, seqlen, head_dim)."""

from __future__ import annotations

from functools import cache
from itertools import product

from pytest_kgate.problems.shape import Shape

CANONICAL = (
    Shape(1, 8, 512, 64),
    Shape(4, 8, 512, 64),
    Shape(2, 8, 1024, 64),
    Shape(2, 8, 2048, 64),
    Shape(2, 8, 2048, 128),
    Shape(4, 16, 4096, 128),
)

ACCEPTANCE = tuple(
    Shape(*extents, causal=causal)
    for extents in ((1, 8, 512, 64), (2, 8, 2048, 64), (2, 8, 2048, 128))
    for causal in (False, True)
)

STRESS = (
    Shape(1, 8, 17, 64),  # less than a tile
    Shape(1, 8, 17, 64, causal=True),
    Shape(1, 8, 8191, 64),  # a tail of one less than a tile
    Shape(1, 8, 8191, 64, causal=True),
    Shape(1, 1, 65_536, 64),  # logits that overflow 32-bit offsets; one head, so that the exact answer takes seconds
    Shape(1, 1, 65_536, 64, causal=True),
    Shape(1, 8, 1, 64),  # one row, and one key
    Shape(1, 1, 512, 64),  # one head: too few blocks to fill a GPU
    Shape(2, 16, 1024, 128, causal=True, kv_heads=4),  # grouped heads
    Shape(2, 16, 1024, 128, kv_heads=1),  # all read one
    Shape(1, 8, 1, 64, kv_seqlen=8191),  # a decode step, with a tail
    Shape(8, 16, 1, 128, kv_heads=4, kv_seqlen=8192),  # and of grouped heads
)


@cache
def all_combinations() -> tuple[Shape, ...]:
    """Made when it is asked for: few sessions want so many."""
    return tuple(
        Shape(batch, heads, seqlen, head_dim, causal=causal)
        for seqlen, batch, heads, head_dim, causal in product(
            (128, 256, 512, 1024, 2048, 4096, 8192), (1, 4, 8), (8, 16), (64, 96, 128), (False, True)
        )
    )
