"""PyTorch's compiled `flex_attention` as a reference: masks that it skips blocks of, and caps, which SDPA has not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.problems.attention.exact import hidden_by
from pytest_kgate.problems.attention.masks import hides
from pytest_kgate.problems.attention.masks import rows_without_key
from pytest_kgate.problems.shape import Shape

_NUMBERS = itertools.count()


class FlexAttention:
    """One problem's compiled call, for the rows that see a key; it is compiled when it is first called."""

    def __init__(self, shape: Shape, *, with_log_sum: bool) -> None:
        self._shape = shape
        self._with_log_sum = with_log_sum
        self._compiled: Callable[..., Any] | None = None
        self._masks: dict[torch.device, Any] = {}

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Any:
        if self._with_log_sum and not query.is_cuda:
            raise RuntimeError("PyTorch's flex_attention returns no log-sum-exp on a CPU")
        if self._compiled is None:
            self._compiled = _compiled(self._shape, with_log_sum=self._with_log_sum)
        if hides(self._shape) and query.device not in self._masks:
            self._masks[query.device] = _block_mask(self._shape, query.device)
        return self._compiled(query, key, value, bias, self._masks.get(query.device))


def _compiled(shape: Shape, *, with_log_sum: bool) -> Callable[..., Any]:
    from torch.nn.attention import flex_attention as flex

    cap, scale, group = shape.softcap, shape.factor, shape.group
    of_batch, of_head = shape.bias == "full", shape.bias != "shared"
    # Newer versions of PyTorch warn of the one, older ones lack the other.
    newer = hasattr(flex, "AuxRequest")
    asked: dict[str, Any] = {}
    if with_log_sum:
        asked = {"return_aux": flex.AuxRequest(lse=True)} if newer else {"return_lse": True}

    def attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, block_mask: Any) -> Any:
        def score(scores: Tensor, batch: Tensor, head: Tensor, row: Tensor, column: Tensor) -> Tensor:
            if cap is not None:
                scores = cap * torch.tanh(scores / cap)
            if bias is not None:
                scores = scores + bias[batch if of_batch else 0, head if of_head else 0, row, column]
            return scores

        found = flex.flex_attention(
            query,
            key,
            value,
            score_mod=None if cap is None and bias is None else score,
            block_mask=block_mask,
            scale=scale,
            enable_gqa=group > 1,
            **asked,
        )
        if not with_log_sum:
            return found
        return found[0], found[1].lse if newer else found[1]

    # PyTorch gives up on code that it has compiled eight times: each problem has code of its own.
    attention.__code__ = attention.__code__.replace(co_name=f"attention_{next(_NUMBERS)}")
    return torch.compile(attention, dynamic=False, fullgraph=True)


def _block_mask(shape: Shape, device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    first = rows_without_key(shape)
    place = first + shape.keys - shape.seqlen
    hidden = hidden_by(shape.window, is_causal=shape.causal)
    assert hidden is not None

    def seen(batch: Tensor, head: Tensor, row: Tensor, column: Tensor) -> Tensor:
        return ~hidden(row + place, column)

    return create_block_mask(seen, None, None, shape.seqlen - first, shape.keys, device=str(device))
