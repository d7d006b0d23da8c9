"""Attention of 8-bit elements as an honest kernel on tensor cores does it, simulated."""

from __future__ import annotations

import math

import torch

STEP = 32
"""Columns that one instruction multiplies and adds up."""
GREATEST = 8.0
"""The weight of a row's maximum, as a power of 2."""


def added_up(sums, terms, bits):
    """The sums with the terms, of which an accumulator keeps so many bits; all of float32's with None."""
    total = sums + terms
    if bits is None:
        return total
    fraction, exponent = torch.frexp(total)
    return torch.ldexp(torch.trunc(fraction * 2**bits) / 2**bits, exponent)


def products(left, right, bits):
    """left @ right, a step of columns after another."""
    sums = torch.zeros(*left.shape[:-1], right.shape[-1])
    for first in range(0, left.shape[-1], STEP):
        step = slice(first, first + STEP)
        sums = added_up(sums, left[..., step] @ right[..., step, :], bits)
    return sums


def eight_bit_kernel(bits=None):
    """Tiles of keys from the last on; e4m3 of weights times 2^8, whose sums are not rounded; sums in float32."""

    def kernel(query, key, value, bias, q_scale, k_scale, v_scale, *, is_causal=False, scale=None):
        rows, keys, group = query.shape[2], key.shape[2], query.shape[1] // key.shape[1]
        of_head = (q_scale * k_scale.repeat_interleave(group))[None, :, None, None]
        factor = of_head * (1 / math.sqrt(query.shape[3]) if scale is None else scale)
        k, v = (one.float().repeat_interleave(group, 1) for one in (key, value))
        logits = products(query.float(), k.transpose(2, 3), bits) * factor
        if is_causal:
            behind = torch.arange(keys)[None, :] > torch.arange(rows)[:, None] + keys - rows
            logits = logits.masked_fill(behind, -math.inf)
        output, sums = torch.zeros(query.shape), torch.zeros(*query.shape[:3], 1)
        top = torch.full((*query.shape[:3], 1), -math.inf)
        width = 128 if is_causal else 192
        for first in reversed(range(0, keys, width)):
            tile = slice(first, first + width)
            now = torch.maximum(top, logits[..., tile].amax(-1, keepdim=True))
            base = now.masked_fill(now == -math.inf, 0.0)
            weights, shrink = (logits[..., tile] - base).exp() * 2**GREATEST, (top - base).exp()
            sums, output, top = sums * shrink + weights.sum(-1, keepdim=True), output * shrink, now
            narrow = weights.to(torch.float8_e4m3fn).float()
            for one in range(0, narrow.shape[-1], STEP):
                step = slice(one, one + STEP)
                output = added_up(output, narrow[..., step] @ v[:, :, tile][:, :, step], bits)
        return (output / sums * v_scale.repeat_interleave(group)[None, :, None, None]).bfloat16()

    return kernel
