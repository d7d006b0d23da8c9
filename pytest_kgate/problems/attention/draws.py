"""Inputs of attention: normal ones, and hard ones on which wrong kernels show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator
from torch import Tensor

from pytest_kgate.problems.shape import Shape

_SHARP = 6.0
"""Logits of the hard draws have this standard deviation: the softmax then picks few keys, so that an average over all
of them, which is close to right on normal draws, is far off."""

_SHARP_VALUES = 0.5
"""Values of the hard draws are halved: an output near one value row then still rounds to 16 bits within 1e-3."""

_SHARP_BIAS = 3.0
"""The bias of the hard draws is so much larger: what is added before the cap instead of after it then shows."""

_LOOKUP_EVERY = 4
LOOKUP_LOGIT = 200.0
"""Every fourth query of the hard draws, the last among them, is its own key made longer: its logit there is about 200,
its answer that key's value. An exp without the maximum subtracted overflows (float32 does at 89), and a key or a tile
that is left out shows, however many keys there are."""

_HIDDEN_LOGIT = 40.0
"""Some of those queries look up a key at an edge of what they see, or the first one behind it, with this logit. The
right answer has nothing of a hidden key, one that begins or ends its mask a key too far has little else; the logits of
the other keys, of standard deviation 40 / sqrt(head_dim), stay no sharper than those of other queries."""

_SATURATED = 2.0
"""Softcaps that a looked-up logit may be long: of longer ones all logits come near the cap, and none stands out."""

_PAIR = (1.1, 1.0)
"""Softcaps: the logits of queries that look up two keys. A cap brings such logits nearer, so that the second key weighs
three times more or so than without one; other logits are too small, or too far apart, for a cap to show."""


def draw(shape: Shape, element: torch.dtype, hard: bool, generator: Generator) -> tuple[Tensor, ...]:
    """Queries, keys, values, and the bias where there is one, on the generator's device."""
    query, key, value = (
        torch.randn(extents, generator=generator, device=generator.device, dtype=torch.float32)
        for extents in (shape.query_extents, shape.key_extents, shape.key_extents)
    )
    inputs = [query, key, value]
    if shape.bias_extents is not None:
        bias = torch.randn(shape.bias_extents, generator=generator, device=generator.device, dtype=torch.float32)
        inputs.append(bias * _SHARP_BIAS if hard else bias)
    if hard:
        query = query * (_SHARP / (shape.factor * math.sqrt(shape.head_dim)))
        inputs[0] = _with_lookups(shape, query, key, generator)
        inputs[2] = value * _SHARP_VALUES
    return tuple(one.to(element) for one in inputs)


def _with_lookups(shape: Shape, query: Tensor, key: Tensor, generator: Generator) -> Tensor:
    """Every fourth query replaced by the key that it looks up; those that have none to look up stay."""
    device, heads = key.device, torch.arange(shape.heads, device=key.device)
    rows = torch.arange((shape.seqlen - 1) % _LOOKUP_EVERY, shape.seqlen, _LOOKUP_EVERY, device=device)
    places = rows + shape.keys - shape.seqlen
    targets = _targets(shape)
    turn = (rows[-1] - rows) // _LOOKUP_EVERY + heads[:, None]
    if turn.numel() < len(targets):  # as few as in a decode step: each draw begins with another target
        turn = turn + torch.randint(len(targets), (), generator=generator, device=device)
    # The last row of the first head looks up the last key; the targets take turns from there, over rows and heads.
    turn = turn % len(targets)
    target = places + torch.tensor([one.shift for one in targets], device=device)[turn]
    outside = (target < 0) | (target >= shape.keys)
    turn, target = turn.masked_fill(outside, 0), torch.where(outside, places, target)
    of_head = (heads // shape.group)[:, None]
    found = key[:, of_head, target.clamp(min=0)]
    logit = torch.tensor([one.logit for one in targets], dtype=torch.float64, device=device)[turn]
    made = found * (logit / (shape.factor * shape.head_dim)).float()[None, :, :, None]
    if shape.softcap is not None:
        paired = torch.tensor([one.paired for one in targets], device=device)[turn] & (target > 0)
        both = _with_logits(shape, found, key[:, of_head, (target - 1).clamp(min=0)])
        made = torch.where(paired[None, :, :, None], both, made)
    query[:, :, rows] = torch.where((target >= 0)[None, :, :, None], made, query[:, :, rows])
    return query


def _with_logits(shape: Shape, key: Tensor, other: Tensor) -> Tensor:
    """Queries whose logits at these two keys are a tenth of the cap apart, near the cap."""
    assert shape.softcap is not None
    one, two = key.double(), other.double()
    own, mixed, others = ((a * b).sum(-1, keepdim=True) for a, b in ((one, one), (one, two), (two, two)))
    first, second = (share * shape.softcap / shape.factor for share in _PAIR)
    determinant = (own * others - mixed * mixed).clamp(min=1e-9)  # 0 where the two are one key, and not looked up so
    made = ((first * others - second * mixed) * one + (second * own - first * mixed) * two) / determinant
    return made.float()


@dataclass(frozen=True)
class _Target:
    """What a query looks up."""

    shift: int
    """Of the key, behind the query's own place."""
    logit: float
    """That it finds there."""
    paired: bool = False
    """Whether it finds one nearly as large at the key before."""


def _targets(shape: Shape) -> list[_Target]:
    """What queries look up in turn; their own key first."""
    most = math.inf if shape.softcap is None else _SATURATED * shape.softcap
    own, hidden = min(LOOKUP_LOGIT, most), min(_HIDDEN_LOGIT, most)
    found = [_Target(0, own)]
    if shape.softcap is not None:
        found.append(_Target(0, own, paired=True))
    if shape.window is not None:
        found += [_Target(1 - shape.window, own), _Target(-shape.window, hidden)]
        if not shape.causal:
            found += [_Target(shape.window - 1, own), _Target(shape.window, hidden)]
    if shape.causal and (shape.window is not None or shape.keys != shape.seqlen):
        found.append(_Target(1, hidden))
    return found
