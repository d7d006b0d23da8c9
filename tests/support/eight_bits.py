"""Attention of 8-bit elements as an honest kernel on tensor cores does it, simulated."""

from __future__ import annotations

import math

import torch

STEP = 32
"""Columns that one instruction multiplies and adds up."""
WARP = 16
"""Rows whose maxima are raised together."""
GREATEST = 7.0
"""The weight of a row's maximum, as a power of 2."""
GROWTH = 1.8
"""How far a logit may be above that maximum before it is raised, as a power of 2: e4m3 ends at 2^8.8."""


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


def raised(top, best):
    """The maxima of rows so far after those of one more tile: a warp's are left alone until one has grown enough."""
    grown = ((best - top) / math.log(2) > GROWTH).flatten(2)  # -inf - -inf is no growth
    warps = torch.nn.functional.pad(grown, (0, -grown.shape[-1] % WARP)).unflatten(-1, (-1, WARP)).any(-1)
    of_row = warps.repeat_interleave(WARP, -1)[..., : grown.shape[-1], None]
    return torch.where(of_row, torch.maximum(top, best), top)


def eight_bit_kernel(bits=None):
    """Tiles of keys from the last on; e4m3 of weights times 2^7, whose sums are not rounded; sums in float32."""

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
            now = raised(top, logits[..., tile].amax(-1, keepdim=True))
            base = now.masked_fill(now == -math.inf, 0.0)
            weights, shrink = (logits[..., tile] - base).exp() * 2**GREATEST, (top - base).exp()
            sums, output, top = sums * shrink + weights.sum(-1, keepdim=True), output * shrink, now
            narrow = weights.to(torch.float8_e4m3fn).float()
            for one in range(0, narrow.shape[-1], STEP):
                step = slice(one, one + STEP)
                output = added_up(output, narrow[..., step] @ v[:, :, tile][:, :, step], bits)
        return (output / sums * v_scale.repeat_interleave(group)[None, :, None, None]).bfloat16()

    return kernel
