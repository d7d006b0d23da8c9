"""Exact attention in float64, in chunks that any device has room for."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

_CHUNK_BYTES = 2**28
"""Float64 scores held at once."""

Weigh = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Weights from scores (slices, rows, keys) and the numbers of these rows (rows, 1) and keys (1, keys)."""


def exact_attention(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool = False) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V in float64, on the tensors' own device, a few heads and rows at a time.

    Takes and returns `(batch, heads, seqlen, head_dim)`.
    """
    return weighted_values(query, key, value, softmax_weights(is_causal))


def softmax_weights(is_causal: bool) -> Weigh:
    """The right weights: softmax over the keys that the mask leaves."""

    def weigh(scores: Tensor, rows: Tensor, keys: Tensor) -> Tensor:
        return torch.softmax(scores.masked_fill_(keys > rows, -math.inf) if is_causal else scores, dim=-1)

    return weigh


def weighted_values(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weigh: Weigh,
    combine: Callable[[Tensor, Tensor], Tensor] = torch.matmul,
) -> Tensor:
    """`combine` of the weights that `weigh` makes of Q K^T / sqrt(D), and of V: attention, exact or not, in float64."""
    batch, heads, seqlen, head_dim = query.shape
    q, k, v = (tensor.reshape(batch * heads, seqlen, head_dim) for tensor in (query, key, value))
    out = torch.empty(q.shape, dtype=torch.float64, device=q.device)
    rows = max(1, min(seqlen, _CHUNK_BYTES // (8 * seqlen)))
    slices = max(1, _CHUNK_BYTES // (8 * seqlen * rows))
    numbers = torch.arange(seqlen, device=q.device)
    for head in range(0, batch * heads, slices):
        some = slice(head, head + slices)
        keys, values = k[some].double().transpose(1, 2), v[some].double()
        for row in range(0, seqlen, rows):
            scores = q[some, row : row + rows].double() @ keys / math.sqrt(head_dim)
            weights = weigh(scores, numbers[row : row + rows, None], numbers[None, :])
            out[some, row : row + rows] = combine(weights, values)
    return out.reshape(query.shape)
