"""Mutants of attention: the mistakes that its kernels make."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.problems.attention.draws import LOOKUP_LOGIT
from pytest_kgate.problems.attention.exact import Rule
from pytest_kgate.problems.attention.exact import exact_attention
from pytest_kgate.problems.attention.mutants import arithmetic
from pytest_kgate.problems.attention.mutants import extents
from pytest_kgate.problems.attention.mutants.arithmetic import BLOCK
from pytest_kgate.problems.attention.mutants.kernel import Kernel
from pytest_kgate.problems.attention.mutants.kernel import changing
from pytest_kgate.problems.attention.mutants.kernel import with_steps
from pytest_kgate.problems.attention.mutants.log_sum import of_log_sum
from pytest_kgate.problems.rounding.coarser import COARSER
from pytest_kgate.problems.rounding.coarser import name_of
from pytest_kgate.problems.shape import Shape
from pytest_kgate.problems.trees import tree

_MANY = 512
"""Keys from which on sums in 16 bits leave a trace: over fewer they come as near as kernels that are accepted."""

_OVERFLOWS = 95.0
"""Logits whose exp float32 does not hold, with room: it ends at 88.7."""


def attention_mutants(shape: Shape, element: torch.dtype, *, log_sum: bool = False) -> Mapping[str, Kernel]:
    """The mutants that are wrong on this shape: one key needs no mask, and one head can't be swapped.

    With `log_sum`, answers come with their log-sum-exp, and there are mutants of it.
    """
    keys = shape.keys
    cap = shape.softcap
    overflows = cap is None or cap * math.tanh(LOOKUP_LOGIT / cap) > _OVERFLOWS
    mutants: dict[str, Kernel] = {}
    if keys > 1:
        tile = min(keys % BLOCK or BLOCK, keys // 2)
        start = keys // 2 // BLOCK * BLOCK if keys > BLOCK else keys // 2
        mutants["the mean of the values"] = with_steps(hidden=None, score=lambda scores, bias: scores.zero_())
        if overflows:
            mutants["exp without the maximum"] = arithmetic.without_maximum()
        mutants |= {
            "the last key left out": _leaving_out(keys - 1, keys),
            "the last tile of keys left out": _leaving_out(keys - tile, keys),
            "a block of keys left out": _leaving_out(start, start + min(BLOCK, keys - start)),
        }
        padded = 2 ** math.ceil(math.log2(shape.head_dim))
        if shape.scale is None:
            if shape.head_dim > 1:
                mutants["scale 1/D"] = with_steps(scale=1 / shape.head_dim)
            if padded != shape.head_dim:
                mutants["scale of the padded head"] = with_steps(scale=1 / math.sqrt(padded))
        mutants |= extents.of_mask(shape) | extents.of_scores(shape) | extents.of_heads(shape)
        for low in COARSER.get(element, ()):
            mutants[f"weights and values in {name_of(low)}"] = arithmetic.coarse_weights(low)
    if keys > BLOCK:
        mutants["sums that are not rescaled"] = arithmetic.not_rescaled()
    if len(shape.visible(shape.seqlen - 1)) >= _MANY and element.itemsize == 2:
        mutants[f"sums in {name_of(element)}"] = arithmetic.coarse_sums(element)
    if shape.batch * shape.heads > 1:
        mutants["heads swapped"] = _heads_swapped
    if log_sum:
        mutants |= of_log_sum(shape, overflows=overflows)
    return MappingProxyType(mutants)


def _heads_swapped(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None, **options: Any) -> Any:
    answer = exact_attention(query, key, value, bias, **options)
    swapped = tree.mapped(answer, lambda one: one.flatten(0, 1).roll(1, 0).reshape(one.shape))
    if isinstance(swapped, tuple):
        return swapped[0].to(value.dtype), swapped[1].float()
    return swapped.to(value.dtype)


def _leaving_out(first: int, end: int) -> Kernel:
    """Without the keys from `first` to before `end`; the first of all stays. A row that has none left gives zeros."""

    def changed(rule: Rule) -> Rule:
        def hidden(places: Tensor, keys: Tensor) -> Tensor:
            out = (keys >= max(first, 1)) & (keys < end)
            return out.expand(len(places), -1) if rule.hidden is None else out | rule.hidden(places, keys)

        return replace(rule, hidden=hidden, weigh=lambda scores: torch.softmax(scores, -1).nan_to_num_(0.0))

    return changing(changed)
