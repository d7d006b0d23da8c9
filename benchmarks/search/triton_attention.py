"""Flash attention in Triton, forward only: (batch, heads, seqlen, head_dim) 16 bits, head_dim a power of two."""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl


@triton.jit
def _attention(
    q,
    k,
    v,
    o,
    seqlen,
    scale,
    head_dim: tl.constexpr,
    block_m: tl.constexpr,
    block_n: tl.constexpr,
    causal: tl.constexpr,
):
    base = tl.program_id(1).to(tl.int64) * seqlen * head_dim
    rows = tl.program_id(0) * block_m + tl.arange(0, block_m)
    columns = tl.arange(0, head_dim)
    keys = tl.arange(0, block_n)
    place = base + rows[:, None] * head_dim + columns[None, :]
    queries = tl.load(q + place, mask=rows[:, None] < seqlen, other=0.0)
    most = tl.full([block_m], float("-inf"), tl.float32)
    total = tl.zeros([block_m], tl.float32)
    result = tl.zeros([block_m, head_dim], tl.float32)
    end = tl.minimum((tl.program_id(0) + 1) * block_m, seqlen) if causal else seqlen
    for start in range(0, end, block_n):
        inside = start + keys < seqlen
        tile = base + (start + keys)[:, None] * head_dim + columns[None, :]
        k_tile = tl.load(k + tile, mask=inside[:, None], other=0.0)
        logits = tl.dot(queries, tl.trans(k_tile)) * (scale * 1.4426950408889634)
        logits = tl.where(inside[None, :], logits, float("-inf"))
        if causal:
            logits = tl.where(rows[:, None] >= start + keys[None, :], logits, float("-inf"))
        now = tl.maximum(most, tl.max(logits, 1))
        weights = tl.exp2(logits - now[:, None])
        shrink = tl.exp2(most - now)
        total = total * shrink + tl.sum(weights, 1)
        v_tile = tl.load(v + tile, mask=inside[:, None], other=0.0)
        result = result * shrink[:, None] + tl.dot(weights.to(v_tile.dtype), v_tile)
        most = now
    tl.store(o + place, (result / total[:, None]).to(o.dtype.element_ty), mask=rows[:, None] < seqlen)


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    is_causal: bool = False,
    scale: float | None = None,
    block_m: int,
    block_n: int,
    num_warps: int,
    num_stages: int,
    **_: Any,
) -> torch.Tensor:
    """softmax(scale * q k^T) v of contiguous tensors."""
    batch, heads, seqlen, head_dim = q.shape
    o = torch.empty_like(q)
    grid = (triton.cdiv(seqlen, block_m), batch * heads)
    factor = 1.0 / math.sqrt(head_dim) if scale is None else scale
    launch = {"num_warps": num_warps, "num_stages": num_stages}
    _attention[grid](q, k, v, o, seqlen, factor, head_dim, block_m, block_n, is_causal, **launch)
    return o
