"""Exact attention in float64, in chunks that any device has room for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_CHUNK_BYTES = 2**28
"""Float64 scores, keys and values held at once."""

Score = Callable[[Tensor, "Tensor | None"], Tensor]
"""Scores from scaled products (slices, rows, keys) and the bias for them."""

Hidden = Callable[[Tensor, Tensor], Tensor]
"""From the places of rows (rows, 1) among the keys, and the keys' own (1, keys): which a row does not see."""


@dataclass(frozen=True)
class Rule:
    """What attention computes, step by step. A mutant is the right rule with one step replaced."""

    scale: float
    """Factor of Q K^T."""
    place: int
    """Of the first row among the keys; below 0 where there are more rows than keys."""
    key_head: Callable[[Tensor], Tensor]
    """From the numbers of heads to those of the heads of keys that they read."""
    score: Score
    hidden: Hidden | None
    weigh: Callable[[Tensor], Tensor]
    """Weights from masked scores."""
    combine: Callable[[Tensor, Tensor], Tensor] = torch.matmul
    """The answer from weights and values."""
    log_sum: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda scores, places, keys: torch.logsumexp(scores, -1)
    """The log-sum-exp from masked scores, the places of rows and the keys' own."""
    masked: float = -math.inf
    """The score of a key that is not seen."""
    empty: float = 0.0
    """The weights of a row that sees no key."""


def exact_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    *,
    is_causal: bool = False,
    window: int | None = None,
    softcap: float | None = None,
    scale: float | None = None,
    return_lse: bool = False,
) -> Any:
    """Attention in float64, on the tensors' own device, a few heads and rows at a time; `Shape` says what it is.

    Takes and returns `(batch, heads, seqlen, head_dim)`, of keys and values `(batch, kv_heads, kv_seqlen, head_dim)`,
    of the bias what broadcasts to `(batch, heads, seqlen, kv_seqlen)`. With `return_lse` also returns the natural
    logarithm of the sum of exp of the scores, `(batch, heads, seqlen)`: -inf where a row sees no key.
    """
    rule = rule_of(query, key, is_causal=is_causal, window=window, softcap=softcap, scale=scale)
    answer, log_sums = attend(rule, query, key, value, bias, with_log_sum=return_lse)
    return answer if log_sums is None else (answer, log_sums)


def rule_of(
    query: Tensor,
    key: Tensor,
    *,
    is_causal: bool = False,
    window: int | None = None,
    softcap: float | None = None,
    scale: float | None = None,
) -> Rule:
    """The right rule for tensors of these extents."""
    group, odd = divmod(query.shape[1], key.shape[1])
    if odd:
        raise ValueError(f"{query.shape[1]} heads can't share {key.shape[1]} heads of keys evenly")
    return Rule(
        scale=1 / math.sqrt(query.shape[3]) if scale is None else scale,
        place=key.shape[2] - query.shape[2],
        key_head=lambda heads: heads // group,
        score=scores_of(softcap),
        hidden=hidden_by(window, is_causal=is_causal),
        weigh=softmax,
    )


def softmax(scores: Tensor) -> Tensor:
    """The right weights."""
    return torch.softmax(scores, dim=-1)


def scores_of(softcap: float | None) -> Score:
    """The right scores: capped, then with the bias."""

    def score(scores: Tensor, bias: Tensor | None) -> Tensor:
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        return scores if bias is None else scores + bias

    return score


def hidden_by(window: int | None, *, is_causal: bool, before: int = 0, behind: int = 0) -> Hidden | None:
    """The mask of `Shape.causal` and `Shape.window`; None where all is seen.

    What a row sees begins `before` keys later, and ends `behind` keys later.
    """
    if window is None and not is_causal:
        return None

    def hidden(places: Tensor, keys: Tensor) -> Tensor:
        last = places + behind if is_causal or window is None else places + window - 1 + behind
        found = keys > last
        return found if window is None else found | (keys < places - window + 1 + before)

    return hidden


def attend(
    rule: Rule, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, *, with_log_sum: bool = False
) -> tuple[Tensor, Tensor | None]:
    """The answer by this rule, in float64, and the log-sum-exp where it is wanted."""
    batch, heads, seqlen, head_dim = query.shape
    key_heads, length, device = key.shape[1], key.shape[2], query.device
    q = query.reshape(batch * heads, seqlen, head_dim)
    k, v = (one.reshape(batch * key_heads, length, one.shape[3]) for one in (key, value))
    answer = torch.empty(batch * heads, seqlen, v.shape[2], dtype=torch.float64, device=device)
    log_sums = torch.empty(batch * heads, seqlen, dtype=torch.float64, device=device) if with_log_sum else None
    rows = max(1, min(seqlen, _CHUNK_BYTES // (8 * length)))
    slices = max(1, _CHUNK_BYTES // (8 * length * (rows + 2 * head_dim)))
    numbers = torch.arange(batch * heads, device=device)
    of_keys = numbers // heads * key_heads + rule.key_head(numbers % heads)
    own_keys = torch.arange(length, device=device)[None, :]
    if bias is not None:
        bias = bias.expand(batch, heads, seqlen, length)
    for start in range(0, batch * heads, slices):
        some = slice(start, start + slices)
        keys, values = k[of_keys[some]].double().transpose(1, 2), v[of_keys[some]].double()
        for row in range(0, seqlen, rows):
            part = slice(row, row + rows)
            scores = q[some, part].double() @ keys * rule.scale
            own_bias = None if bias is None else bias[numbers[some] // heads, numbers[some] % heads, part].double()
            scores = rule.score(scores, own_bias)
            places = torch.arange(row, min(row + rows, seqlen), device=device)[:, None] + rule.place
            hidden = None if rule.hidden is None else rule.hidden(places, own_keys)
            if hidden is not None:
                scores = scores.masked_fill_(hidden, rule.masked)
            weights = rule.weigh(scores)
            if hidden is not None and row + rule.place < 0:
                weights = weights.masked_fill_(hidden.all(-1, keepdim=True), rule.empty)
            answer[some, part] = rule.combine(weights, values)
            if log_sums is not None:
                log_sums[some, part] = rule.log_sum(scores, places, own_keys)
    shaped = answer.reshape(batch, heads, seqlen, -1)
    return shaped, None if log_sums is None else log_sums.reshape(batch, heads, seqlen)
