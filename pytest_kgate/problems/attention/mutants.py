"""Mutants of attention: the mistakes that its kernels make."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F  # noqa: N812  (torch's own convention)
from torch import Tensor

from pytest_kgate.problems.attention.exact import exact_attention
from pytest_kgate.problems.attention.exact import softmax_weights
from pytest_kgate.problems.attention.exact import weighted_values
from pytest_kgate.problems.rounding import COARSER
from pytest_kgate.problems.rounding import name_of
from pytest_kgate.problems.rounding import rounded
from pytest_kgate.problems.shape import Shape

Kernel = Callable[..., Tensor]

_BLOCK = 64

_STEP = 16
"""Keys that a tensor core adds up before its sum is rounded."""

_MANY = 512
"""Keys from which on sums in 16 bits leave a trace: over fewer they come as near as kernels that are accepted."""


def attention_mutants(shape: Shape, element: torch.dtype) -> Mapping[str, Kernel]:
    """Those that are wrong on this shape: one key needs no mask, and one head can't be swapped."""
    length, head_dim = shape.seqlen, shape.head_dim
    mutants: dict[str, Kernel] = {}
    if length > 1:
        tile = min(length % _BLOCK or _BLOCK, length // 2)
        start = length // 2 // _BLOCK * _BLOCK if length > _BLOCK else length // 2
        mutants |= {
            "the mean of the values": _mean_of_values,
            "exp without the maximum": _weighing(_softmax_without_maximum),
            "the last key left out": _leaving_out(length - 1, length),
            "the last tile of keys left out": _leaving_out(length - tile, length),
            "a block of keys left out": _leaving_out(start, start + min(_BLOCK, length - start)),
        }
        if head_dim > 1:
            mutants["scale 1/D"] = _scaled(1 / math.sqrt(head_dim))
        padded = 2 ** math.ceil(math.log2(head_dim))
        if padded != head_dim:
            mutants["scale of the padded head"] = _scaled(math.sqrt(head_dim / padded))
        if shape.causal:
            mutants |= {
                "no mask": lambda query, key, value: exact_attention(query, key, value).to(value.dtype),
                "a mask that ends a key early": _weighing(_softmax, shift=-1),
                "a mask that ends a key late": _weighing(_softmax, shift=1),
            }
        for low in COARSER[element]:
            mutants[f"weights and values in {name_of(low)}"] = _coarse_weights(low)
    if length > _BLOCK:
        mutants["sums that are not rescaled"] = _weighing(_softmax_not_rescaled)
    if length >= _MANY and element.itemsize == 2:
        mutants[f"sums in {name_of(element)}"] = _coarse_sums(element)
    if shape.batch * shape.heads > 1:
        mutants["heads swapped"] = _heads_swapped
    return MappingProxyType(mutants)


def _mean_of_values(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return value.double().mean(2, keepdim=True).expand_as(value).to(value.dtype).contiguous()


def _heads_swapped(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
    return (
        exact_attention(query, key, value, is_causal=is_causal)
        .flatten(0, 1)
        .roll(1, 0)
        .reshape(value.shape)
        .to(value.dtype)
    )


def _scaled(factor: float) -> Kernel:
    def kernel(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
        return exact_attention(query.double() * factor, key, value, is_causal=is_causal).to(value.dtype)

    return kernel


def _softmax(scores: Tensor) -> Tensor:
    return torch.softmax(scores, dim=-1)


def _softmax_without_maximum(scores: Tensor) -> Tensor:
    weights = scores.float().exp()
    return (weights / weights.sum(-1, keepdim=True)).double()


def _softmax_not_rescaled(scores: Tensor) -> Tensor:
    """Each block of keys with the maximum so far, and the blocks added up as they are."""
    padded = F.pad(scores, (0, -scores.shape[-1] % _BLOCK), value=-math.inf)
    blocks = padded.unflatten(-1, (-1, _BLOCK))
    maximum = blocks.amax(-1).cummax(-1).values
    weights = (blocks - maximum[..., None]).exp().flatten(-2)[..., : scores.shape[-1]]
    result: Tensor = weights / weights.sum(-1, keepdim=True)
    return result


def _weighing(weights_of: Callable[[Tensor], Tensor], shift: int = 0) -> Kernel:
    """`weights_of` the masked scores; under a causal mask the last key of row i is i + `shift`, the first always in."""

    def kernel(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
        def weigh(scores: Tensor, rows: Tensor, keys: Tensor) -> Tensor:
            if is_causal:
                scores = scores.masked_fill_((keys > rows + shift) & (keys > 0), -math.inf)
            return weights_of(scores)

        return weighted_values(query, key, value, weigh).to(value.dtype)

    return kernel


def _leaving_out(first: int, end: int) -> Kernel:
    """Without the keys from `first` to before `end`; the first of all stays, so that every row has one."""

    def kernel(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
        def weigh(scores: Tensor, rows: Tensor, keys: Tensor) -> Tensor:
            out = (keys >= max(first, 1)) & (keys < end)
            return torch.softmax(scores.masked_fill_(out | (keys > rows) if is_causal else out, -math.inf), dim=-1)

        return weighted_values(query, key, value, weigh).to(value.dtype)

    return kernel


def _coarse_weights(low: torch.dtype) -> Kernel:
    def kernel(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
        exact = softmax_weights(is_causal)

        def weigh(scores: Tensor, rows: Tensor, keys: Tensor) -> Tensor:
            weights = exact(scores, rows, keys)
            # As kernels do it: the largest weight is 1 when it is rounded.
            return rounded(weights / weights.amax(-1, keepdim=True), low)

        def combine(weights: Tensor, values: Tensor) -> Tensor:
            return weights @ rounded(values, low) / weights.sum(-1, keepdim=True)

        return weighted_values(query, key, value, weigh, combine).to(value.dtype)

    return kernel


def _coarse_sums(low: torch.dtype) -> Kernel:
    """Scores and sums over keys rounded to 16 bits as they are added up."""

    def kernel(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
        exact = softmax_weights(is_causal)
        root = math.sqrt(query.shape[3])

        def weigh(scores: Tensor, rows: Tensor, keys: Tensor) -> Tensor:
            weights = exact(rounded(scores * root, low) / root, rows, keys)
            return weights / weights.amax(-1, keepdim=True)

        def combine(weights: Tensor, values: Tensor) -> Tensor:
            sums = torch.zeros(*weights.shape[:2], values.shape[2], dtype=torch.float64, device=values.device)
            for first in range(0, weights.shape[2], _STEP):
                step = slice(first, first + _STEP)
                sums = rounded(sums + weights[:, :, step] @ values[:, step], low)
            return sums / weights.sum(-1, keepdim=True)

        return weighted_values(query, key, value, weigh, combine).to(value.dtype)

    return kernel
