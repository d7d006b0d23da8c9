"""Inputs of attention in 8 bits: elements of float8_e4m3fn, and a scale for each head by which they are multiplied."""

from __future__ import annotations

import torch
from torch import Generator
from torch import Tensor

from pytest_kgate.problems.attention.draws import draw
from pytest_kgate.problems.shape import Shape

_LARGEST = 448.0
"""That float8_e4m3fn holds."""

_SMALL_VALUES = 0.5
"""A weight is off by up to 2^-4 of itself, an answer by that share of its values: so it stays within the tolerance."""

_CLOSE_VALUES = 0.5
"""Values of the hard draws differ by half as much again. The tensor cores add 8-bit products with 13 bits, so that a
logit of a hard draw is off by 0.1 or more, and where two keys have nearly the same, an answer by that share of how far
their values are apart. Of 4x16x4096x128 with values twice as far, three of four such draws under the causal mask had an
answer that was off by 0.07 to 0.10."""

_OUTLIERS = {"q": (1.5, 3.0, 6.0), "k": (1.5, 2.0, 3.0), "v": (1.5, 3.0, 6.0)}
"""One element of each head and batch of the hard draws is so many times the head's largest: heads in turn, so that each
has a scale unlike its neighbours'. A key's is in many logits, and smaller, so that it does not decide them all."""

_LONG_KEY = 2.0
_TAIL_LOGIT = 7.8
"""Every fourth query of the hard draws finds the first key, which is twice as long, with a logit that is so much larger
than the others: each of those weighs some 2^-11, less than an e4m3 of weights below 1 holds, and together as much as
the first where there are 2,048."""

_EVERY = 4

Inputs = tuple[Tensor, Tensor, Tensor, None, Tensor, Tensor, Tensor]


def draw_eight_bits(shape: Shape, hard: bool, generator: Generator) -> Inputs:
    """Queries, keys, values, None in the bias's place, and the scales of queries, keys and values, on its device."""
    query, key, value = draw(shape, torch.float32, hard, generator)
    if hard:
        offset = torch.randn(1, shape.key_heads, 1, shape.head_dim, generator=generator, device=generator.device)
        value *= _CLOSE_VALUES
        value += _SMALL_VALUES * offset  # what is left out of many small weights shows where values do not cancel
        _add_tails(shape, query, key)
        for name, tensor in (("q", query), ("k", key), ("v", value)):
            _add_outliers(tensor, _OUTLIERS[name], generator)
    else:
        value *= _SMALL_VALUES
    (q, q_scale), (k, k_scale), (v, v_scale) = (quantised(one) for one in (query, key, value))
    return q, k, v, None, q_scale, k_scale, v_scale


def quantised(values: Tensor) -> tuple[Tensor, Tensor]:
    """The values as float8_e4m3fn, with a float32 scale a head by which its largest element is the type's largest."""
    scale = (values.abs().amax((0, 2, 3)) / _LARGEST).clamp(min=2.0**-100)
    return (values / scale[None, :, None, None]).clamp(-_LARGEST, _LARGEST).to(torch.float8_e4m3fn), scale


def _add_tails(shape: Shape, query: Tensor, key: Tensor) -> None:
    key[:, :, 0] *= _LONG_KEY
    first = key[:, torch.arange(shape.heads, device=key.device) // shape.group, 0]
    length = first.square().sum(-1, keepdim=True)
    rows = torch.arange(shape.seqlen % _EVERY, shape.seqlen, _EVERY, device=key.device)
    query[:, :, rows] = (first * (_TAIL_LOGIT / (shape.factor * length)))[:, :, None]


def _add_outliers(tensor: Tensor, sizes: tuple[float, ...], generator: Generator) -> None:
    batch, heads, rows, columns = tensor.shape
    device = tensor.device
    places = torch.randint(rows * columns, (batch, heads, 1), generator=generator, device=device)
    times = torch.tensor(sizes, device=device)[torch.arange(heads, device=device) % len(sizes)]
    size = (tensor.abs().amax((0, 2, 3)) * times)[None, :, None]
    tensor.flatten(2).scatter_(2, places, size.expand(batch, heads, 1))
