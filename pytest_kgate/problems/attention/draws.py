"""Inputs of attention: normal ones, and hard ones on which wrong kernels show."""

from __future__ import annotations

import math

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
        inputs[0] = _with_lookups(shape, query * (_SHARP / (shape.factor * math.sqrt(shape.head_dim))), key)
        inputs[2] = value * _SHARP_VALUES
    return tuple(one.to(element) for one in inputs)


def _with_lookups(shape: Shape, query: Tensor, key: Tensor) -> Tensor:
    """Every fourth query replaced by the key that it looks up; those that have none to look up stay."""
    device, heads = key.device, torch.arange(shape.heads, device=key.device)
    rows = torch.arange((shape.seqlen - 1) % _LOOKUP_EVERY, shape.seqlen, _LOOKUP_EVERY, device=device)
    places = rows + shape.keys - shape.seqlen
    shifts, logits = zip(*_targets(shape), strict=True)
    # The last row of the first head looks up the last key; the targets take turns from there, over rows and heads.
    turn = ((rows[-1] - rows) // _LOOKUP_EVERY + heads[:, None]) % len(shifts)
    target = places + torch.tensor(shifts, device=device)[turn]
    outside = (target < 0) | (target >= shape.keys)
    target = torch.where(outside, places, target)
    logit = torch.where(outside, logits[0], torch.tensor(logits, dtype=torch.float64, device=device)[turn])
    found = key[:, (heads // shape.group)[:, None], target.clamp(min=0)]
    factor = (logit / (shape.factor * shape.head_dim)).float()
    there = (target >= 0)[None, :, :, None]
    query[:, :, rows] = torch.where(there, found * factor[None, :, :, None], query[:, :, rows])
    return query


def _targets(shape: Shape) -> list[tuple[int, float]]:
    """What queries look up, as keys behind their own place, and the logit that they find there; their own key first."""
    most = math.inf if shape.softcap is None else _SATURATED * shape.softcap
    own, hidden = min(LOOKUP_LOGIT, most), min(_HIDDEN_LOGIT, most)
    found = [(0, own)]
    if shape.window is not None:
        found += [(1 - shape.window, own), (-shape.window, hidden)]
        if not shape.causal:
            found += [(shape.window - 1, own), (shape.window, hidden)]
    if shape.causal and (shape.window is not None or shape.keys != shape.seqlen):
        found.append((1, hidden))
    return found
