"""Mutants of attention whose arithmetic is wrong: exponentials, sums, and number formats that are too coarse."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812  (torch's own convention)
from torch import Tensor

from pytest_kgate.problems.attention.exact import Rule
from pytest_kgate.problems.attention.mutants.kernel import Kernel
from pytest_kgate.problems.attention.mutants.kernel import changing
from pytest_kgate.problems.attention.mutants.kernel import with_steps
from pytest_kgate.problems.rounding.coarser import rounded

BLOCK = 64
"""Keys that kernels take at a time."""

_STEP = 16
"""Keys that a tensor core adds up before its sum is rounded."""


def without_maximum() -> Kernel:
    """Exp of the scores as they are, without their maximum taken off."""

    def weigh(scores: Tensor) -> Tensor:
        weights = scores.float().exp()
        return (weights / weights.sum(-1, keepdim=True)).double()

    return with_steps(weigh=weigh)


def not_rescaled() -> Kernel:
    """Each block of keys with the maximum so far, and the blocks added up as they are."""

    def weigh(scores: Tensor) -> Tensor:
        padded = F.pad(scores, (0, -scores.shape[-1] % BLOCK), value=-math.inf)
        blocks = padded.unflatten(-1, (-1, BLOCK))
        maximum = blocks.amax(-1).cummax(-1).values
        maximum = maximum.masked_fill_(maximum == -math.inf, 0.0)
        weights = (blocks - maximum[..., None]).exp().flatten(-2)[..., : scores.shape[-1]]
        result: Tensor = weights / weights.sum(-1, keepdim=True)
        return result

    return with_steps(weigh=weigh)


def coarse_weights(low: torch.dtype) -> Kernel:
    """Weights and values rounded to a coarser type."""

    def combine(weights: Tensor, values: Tensor) -> Tensor:
        return weights @ rounded(values, low) / _sum(weights)

    def changed(rule: Rule) -> Rule:
        return replace(rule, weigh=lambda scores: rounded(_of_largest(rule.weigh(scores)), low), combine=combine)

    return changing(changed)


def coarse_sums(low: torch.dtype) -> Kernel:
    """Products, and sums over keys, rounded to 16 bits as they are added up."""

    def combine(weights: Tensor, values: Tensor) -> Tensor:
        sums = torch.zeros(*weights.shape[:2], values.shape[2], dtype=torch.float64, device=values.device)
        for first in range(0, weights.shape[2], _STEP):
            step = slice(first, first + _STEP)
            sums = rounded(sums + weights[:, :, step] @ values[:, step], low)
        return sums / _sum(weights)

    def changed(rule: Rule) -> Rule:
        return replace(
            rule,
            score=lambda scores, bias: rule.score(rounded(scores / rule.scale, low) * rule.scale, bias),
            weigh=lambda scores: _of_largest(rule.weigh(scores)),
            combine=combine,
        )

    return changing(changed)


def _of_largest(weights: Tensor) -> Tensor:
    """As kernels do it: the largest weight is 1 when it is rounded."""
    return weights / weights.amax(-1, keepdim=True)


def _sum(weights: Tensor) -> Tensor:
    """By row; 1 where there is nothing to be divided."""
    sums = weights.sum(-1, keepdim=True)
    return sums.masked_fill_(sums == 0, 1.0)
