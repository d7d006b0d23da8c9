"""Mutants of attention in 8 bits: those of any attention, and the mistakes that are made with scales and weights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.problems.attention.eight_bits.dequantised import values_of
from pytest_kgate.problems.attention.exact import Rule
from pytest_kgate.problems.attention.mutants.kernel import Kernel
from pytest_kgate.problems.attention.mutants.kernel import changing
from pytest_kgate.problems.attention.mutants.mutants import attention_mutants
from pytest_kgate.problems.shape import Shape

_E4M3 = torch.float8_e4m3fn
_E5M2 = torch.float8_e5m2

_TAIL_KEYS = 1024
"""From which on unscaled weights show: over fewer keys, what they lose is less than what rounding does."""

_FEW_KEYS = 64
"""Below that there are so few weights that a coarser type may happen to be near enough to them."""

LOG_WEIGHT = 8.0
"""Honest kernels multiply weights, of which the greatest is 1, by 2^8: float8_e4m3fn ends at 448, and is exact to 2^-4
of a number down to 2^-6 only."""


def eight_bit_mutants(shape: Shape) -> Mapping[str, Kernel]:
    """The mutants of 8-bit attention that are wrong on this shape."""
    usual = attention_mutants(shape, _E4M3)
    mutants = {name: _on_values(kernel) for name, kernel in usual.items()}
    mutants["the scale of v forgotten"] = _rounded(scales=lambda q, k, v: (q, k, torch.ones_like(v)))
    mutants["queries, keys and values in e5m2"] = _rounded(elements=_E5M2)
    if shape.key_heads > 1 or (shape.heads > 1 and shape.keys > 1):
        mutants["scales of the wrong head"] = _rounded(scales=lambda *scales: tuple(one.roll(1) for one in scales))
    if shape.keys >= _FEW_KEYS and shape.seqlen > 1:
        mutants["weights in e5m2"] = _rounded(weights=_E5M2)
    if len(shape.visible(shape.seqlen - 1)) >= _TAIL_KEYS and shape.seqlen > 1:
        mutants["weights that are not scaled up"] = _rounded(log_weight=0.0)
    return MappingProxyType(mutants)


def _on_values(kernel: Kernel, scales: Callable[..., Any] | None = None) -> Kernel:
    """The kernel, called with elements and scales in place of values, and with an answer in bfloat16."""

    def called(*inputs: Any, is_causal: bool = False, scale: float | None = None) -> Tensor:
        used = inputs if scales is None else (*inputs[:4], *scales(*inputs[4:]))
        answer: Tensor = kernel(*values_of(used, torch.float32), is_causal=is_causal, scale=scale).to(torch.bfloat16)
        return answer

    return called


def _rounded(
    *,
    weights: torch.dtype = _E4M3,
    log_weight: float = LOG_WEIGHT,
    elements: torch.dtype = _E4M3,
    scales: Callable[..., Any] | None = None,
) -> Kernel:
    """Weights rounded to 8 bits, as honest kernels do it, with one mistake."""

    def weigh(scores: Tensor) -> Tensor:
        result: Tensor = (scores - scores.amax(-1, keepdim=True)).exp() * 2**log_weight
        return result

    def combine(unrounded: Tensor, values: Tensor) -> Tensor:
        result: Tensor = unrounded.to(weights).double() @ values / unrounded.sum(-1, keepdim=True).clamp(min=1e-30)
        return result

    def changed(rule: Rule) -> Rule:
        return replace(rule, weigh=weigh, combine=combine)

    kernel = _on_values(changing(changed), scales)
    if elements is _E4M3:
        return kernel

    @functools.wraps(kernel)  # its parameters are asked for
    def called(query: Tensor, key: Tensor, value: Tensor, *others: Any, **options: Any) -> Any:
        coarse = (one.float().to(elements).float() for one in (query, key, value))
        return kernel(*coarse, *others, **options)

    return called
