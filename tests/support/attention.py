"""Attention written out once more, for tests: as `Shape` says it, and as kernels on tensor cores do it."""

from __future__ import annotations

import math

import torch

from pytest_kgate import Shape

EXTENTS = [
    Shape(1, 8, 37, 64, kv_heads=2),
    Shape(2, 4, 40, 64, True, kv_heads=1),
    Shape(2, 4, 65, 64, True, kv_heads=2, kv_seqlen=130),
    Shape(1, 2, 100, 80, True, kv_seqlen=60),
    Shape(1, 2, 20, 64, kv_seqlen=75),
    Shape(1, 2, 100, 64, window=7),
    Shape(1, 2, 130, 64, True, window=16),
    Shape(1, 2, 60, 64, kv_seqlen=20, window=5),
    Shape(2, 2, 70, 64, True, softcap=8),
    Shape(1, 2, 90, 128, softcap=50),
    Shape(2, 4, 33, 64, scale=0.3, bias="heads"),
    Shape(2, 4, 33, 64, True, kv_heads=2, bias="full"),
    Shape(1, 4, 45, 96, True, kv_seqlen=77, window=30, softcap=20, scale=1.0, bias="shared"),
    Shape(2, 4, 1, 64, True, kv_heads=2, kv_seqlen=130),
    Shape(2, 4, 1, 64, True, kv_heads=1, kv_seqlen=200, window=64, softcap=30, bias="shared"),
]


def mask_of(shape):
    """True where a row sees a key."""
    seen = torch.zeros(shape.seqlen, shape.keys, dtype=torch.bool)
    for row in range(shape.seqlen):
        seen[row, list(shape.visible(row))] = True
    return seen


def scores_of(shape, query, key, bias=None, factor=None):
    """Scores in the type of the queries: scaled, capped, biased, masked."""
    scores = query @ key.to(query.dtype).repeat_interleave(shape.group, 1).transpose(2, 3)
    scores = scores * (shape.factor if factor is None else factor)
    if shape.softcap is not None:
        scores = shape.softcap * torch.tanh(scores / shape.softcap)
    if bias is not None:
        scores = scores + bias
    return scores.masked_fill(~mask_of(shape), -math.inf)


def plain_attention(shape, query, key, value, bias=None):
    """The answer and its log-sum-exp, in float64."""
    scores = scores_of(shape, query.double(), key, bias)
    values = value.double().repeat_interleave(shape.group, 1)
    return torch.softmax(scores, -1).nan_to_num(0.0) @ values, torch.logsumexp(scores, -1)


def tiled(shape, *, prescaled=False):
    """An honest kernel: tiles of 64 keys, a running maximum, weights rounded to the inputs' type, sums in float32.

    With `prescaled`, it rounds its scaled queries to the inputs' type.
    """

    def kernel(query, key, value, bias=None, *, return_lse=False):
        factor = 1.0 if prescaled else None
        scaled = query * shape.factor if prescaled else query
        scores = scores_of(shape, scaled.float(), key, bias, factor)
        values = value.float().repeat_interleave(shape.group, 1)
        sums, weight = torch.zeros(query.shape), torch.zeros(*query.shape[:3], 1)
        top = torch.full((*query.shape[:3], 1), -1e30)
        for first in range(0, shape.keys, 64):
            tile = slice(first, first + 64)
            now = torch.maximum(top, scores[..., tile].amax(-1, keepdim=True))
            part, shrink = (scores[..., tile] - now).exp(), (top - now).exp()
            sums = sums * shrink + part.to(value.dtype).float() @ values[:, :, tile]
            weight, top = weight * shrink + part.sum(-1, keepdim=True), now
        answer = (sums / weight.masked_fill(weight == 0, 1.0)).to(value.dtype)
        return (answer, (top + weight.log())[..., 0]) if return_lse else answer

    return kernel
