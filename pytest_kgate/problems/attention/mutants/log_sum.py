"""Mutants of attention whose answer is right, and whose log-sum-exp is not."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from pytest_kgate.problems.attention.exact import Rule
from pytest_kgate.problems.attention.mutants.kernel import Kernel
from pytest_kgate.problems.attention.mutants.kernel import changing
from pytest_kgate.problems.attention.mutants.kernel import with_steps
from pytest_kgate.problems.shape import Shape


def of_log_sum(shape: Shape, *, overflows: bool) -> dict[str, Kernel]:
    """Mutants of the log-sum-exp that are wrong here; `overflows`: exp of its hard draws' scores does in float32."""
    mutants = {
        "a log-sum-exp in base 2": with_steps(log_sum=lambda scores, *_: torch.logsumexp(scores, -1) / math.log(2)),
        "a log-sum-exp of unscaled scores": changing(_unscaled),
    }
    if overflows:
        mutants["a log-sum-exp without the maximum"] = with_steps(
            log_sum=lambda scores, *_: scores.float().exp().sum(-1).log().double()
        )
    if shape.keys > 1:
        mutants |= {
            "the maximum as the log-sum-exp": with_steps(log_sum=lambda scores, *_: scores.amax(-1)),
            "a log-sum-exp one key short": with_steps(log_sum=_one_key_short),
        }
    if not shape.visible(0):
        mutants["a log-sum-exp of 0 in rows without a key"] = with_steps(
            log_sum=lambda scores, *_: torch.logsumexp(scores, -1).nan_to_num(neginf=0.0)
        )
    return mutants


def _unscaled(rule: Rule) -> Rule:
    return replace(rule, log_sum=lambda scores, *_: torch.logsumexp(scores / rule.scale, -1))


def _one_key_short(scores: Tensor, places: Tensor, keys: Tensor) -> Tensor:
    """Without the last key that each row sees; a row that sees one keeps it."""
    seen = scores > -math.inf
    last = (seen * keys).amax(-1, keepdim=True)
    return torch.logsumexp(scores.masked_fill((keys == last) & (seen.sum(-1, keepdim=True) > 1), -math.inf), -1)
