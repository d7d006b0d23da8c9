"""Attention beyond the plain kind, for the tests of kernels: inputs, and the exact answer of small problems."""

from __future__ import annotations

import math

import torch


def exact(q, k, v, bias=None, *, is_causal=False, scale=None, window=None, softcap=None):
    """Output and log-sum-exp in float64, by the whole matrix of scores."""
    q, k, v = q.double(), k.double(), v.double()
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = q @ k.transpose(2, 3) * (q.shape[3] ** -0.5 if scale is None else scale)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if bias is not None:
        scores = scores + bias.double()
    rows, keys = q.shape[2], k.shape[2]
    position = torch.arange(rows, device=q.device)[:, None] + keys - rows
    key = torch.arange(keys, device=q.device)
    seen = key <= position if is_causal else torch.ones(rows, keys, dtype=torch.bool, device=q.device)
    if window is not None:
        seen = seen & ((position - key).abs() < window)
    scores = scores.masked_fill(~seen, -math.inf)
    return scores.softmax(3).nan_to_num(0.0) @ v, scores.logsumexp(3)


def draw(shape, dtype="float32", device="cpu", seed=0):
    """Queries, keys and values of (batch, heads, kv_heads, seqlen, kv_seqlen, head_dim)."""
    batch, heads, kv_heads, rows, keys, head_dim = shape
    generator = torch.Generator(device).manual_seed(seed)
    return tuple(
        torch.randn(*extents, head_dim, generator=generator, device=device).to(getattr(torch, dtype))
        for extents in ((batch, heads, rows), (batch, kv_heads, keys), (batch, kv_heads, keys))
    )
