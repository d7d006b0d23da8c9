"""Mutants of attention that take a part of its shape wrong: mask, window, heads of keys, cap, scale, bias."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from pytest_kgate.problems.attention.exact import Hidden
from pytest_kgate.problems.attention.exact import Rule
from pytest_kgate.problems.attention.exact import hidden_by
from pytest_kgate.problems.attention.exact import scores_of
from pytest_kgate.problems.attention.mutants.kernel import Kernel
from pytest_kgate.problems.attention.mutants.kernel import changing
from pytest_kgate.problems.attention.mutants.kernel import with_steps
from pytest_kgate.problems.shape import Shape

_VISIBLE = 0.01
"""Of a row's weights: what hidden keys must have for that to be wrong, where it is exp(-softcap) for each."""


def of_mask(shape: Shape) -> dict[str, Kernel]:
    """Mutants that are wrong about which keys a row sees."""
    mutants: dict[str, Kernel] = {}
    if shape.causal:
        mutants |= {
            "no mask": _masked(shape, hidden_by(shape.window, is_causal=False)),
            "a mask that ends a key early": _masked(shape, hidden_by(shape.window, is_causal=True, behind=-1)),
            "a mask that ends a key late": _masked(shape, hidden_by(shape.window, is_causal=True, behind=1)),
        }
    if shape.window is not None:
        window, causal = shape.window, shape.causal
        mutants |= {
            "no window": _masked(shape, hidden_by(None, is_causal=causal)),
            "a window that begins a key early": _masked(shape, hidden_by(window, is_causal=causal, before=-1)),
            "a window that begins a key late": _masked(shape, hidden_by(window, is_causal=causal, before=1)),
        }
        if not causal:
            mutants |= {
                "a window that ends a key early": _masked(shape, hidden_by(window, is_causal=False, behind=-1)),
                "a window that ends a key late": _masked(shape, hidden_by(window, is_causal=False, behind=1)),
            }
    if shape.keys != shape.seqlen and (shape.causal or shape.window is not None):
        mutants["rows placed from the first key on"] = with_steps(place=0)
    if not shape.visible(0):
        mutants |= {
            "NaN in rows without a key": with_steps(empty=math.nan),
            "the mean of the values in rows without a key": with_steps(empty=1 / shape.keys),
        }
    return mutants


def of_heads(shape: Shape) -> dict[str, Kernel]:
    """Mutants that are wrong about which keys a head reads."""
    heads = shape.key_heads
    if shape.kv_heads is None or heads == 1:
        return {}
    return {
        "heads that read other heads' keys in turn": with_steps(key_head=lambda numbers: numbers % heads),
        "all heads read the keys of the first": with_steps(key_head=torch.zeros_like),
    }


def of_scores(shape: Shape) -> dict[str, Kernel]:
    """Mutants that are wrong about scale, cap or bias."""
    mutants: dict[str, Kernel] = {}
    if shape.scale is not None:
        mutants["the usual scale"] = with_steps(scale=1 / math.sqrt(shape.head_dim))
    cap = shape.softcap
    if cap is not None:
        mutants |= {
            "no cap": with_steps(score=scores_of(None)),
            "a cap before the scale": changing(_capped_first),
        }
        if _hidden_share(shape) * math.exp(-cap) > _VISIBLE:
            mutants["a cap on masked scores"] = with_steps(masked=-cap)
    if shape.bias is None:
        return mutants
    mutants |= {
        "no bias": changing(lambda rule: replace(rule, score=lambda scores, bias: rule.score(scores, None))),
        "a bias before the scale": changing(_scaled_with_bias),
    }
    if cap is not None:
        mutants["a bias before the cap"] = with_steps(
            score=lambda scores, bias: scores_of(cap)(scores if bias is None else scores + bias, None)
        )
    if shape.bias != "shared" and shape.heads > 1:
        mutants["another head's bias"] = changing(_unchanged, bias_of=lambda bias: bias.roll(1, 1))
    if shape.bias == "full" and shape.batch > 1:
        mutants["another batch's bias"] = changing(_unchanged, bias_of=lambda bias: bias.roll(1, 0))
    return mutants


def _hidden_share(shape: Shape) -> float:
    """Keys that a row does not see over those that it does, of the row where that is most."""
    seen = (len(shape.visible(row)) for row in range(shape.seqlen))
    return max((shape.keys - count) / count for count in seen if count)


def _unchanged(rule: Rule) -> Rule:
    return rule


def _masked(shape: Shape, hidden: Hidden | None) -> Kernel:
    """With this mask; of rows that see a key, the one at the first key still does."""
    if hidden is None:
        return with_steps(hidden=None)

    def mask(places: Tensor, keys: Tensor) -> Tensor:
        return hidden(places, keys) & ~((keys == 0) & (places == 0))

    return with_steps(hidden=mask)


def _capped_first(rule: Rule) -> Rule:
    def score(scores: Tensor, bias: Tensor | None) -> Tensor:
        capped = rule.score(scores / rule.scale, None) * rule.scale
        return capped if bias is None else capped + bias

    return replace(rule, score=score)


def _scaled_with_bias(rule: Rule) -> Rule:
    return replace(
        rule, score=lambda scores, bias: rule.score(scores if bias is None else scores + bias * rule.scale, None)
    )
