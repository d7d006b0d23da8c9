"""What attention is raced against: of PyTorch's own ways to compute a problem, all that can, to take the fastest.

Plain SDPA computes what has as many rows as keys and neither window, cap nor bias. For the rest:

- Grouped heads: `enable_gqa`; copies of the keys where the efficient backend is asked.
- A mask that `is_causal` does not mean, which SDPA aligns to the first key: flash attention's own arguments on a GPU,
  elsewhere a `causal_lower_right` or a mask that was made before.
- A bias: SDPA's `attn_mask`. A cap: compiled `flex_attention`, which also takes windows and biases.
- The log-sum-exp: the operators that SDPA itself calls, which return it.
- Rows that see no key come first: attention is called for the others, and they are put before its answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (torch's own convention)
from torch import Tensor

from pytest_kgate.problems.attention import masks
from pytest_kgate.problems.attention.pytorch.backends import BACKENDS
from pytest_kgate.problems.attention.pytorch.backends import only
from pytest_kgate.problems.attention.pytorch.flex import FlexAttention
from pytest_kgate.problems.shape import Shape

FLEX = "flex"

Call = Callable[[Tensor, Tensor, Tensor, "Tensor | None"], Any]
"""Attention of queries, keys, values and bias, for the rows that see a key."""


def references_of(shape: Shape, *, with_log_sum: bool) -> dict[str, Callable[..., Any]]:
    """PyTorch's ways to compute this problem, by name: backends of SDPA, `flex`."""
    if _is_plain(shape) and not with_log_sum:
        return {name: _plain(name) for name in BACKENDS}
    found: dict[str, Call] = {}
    if shape.softcap is None:
        found |= {name: _by_backend(name, shape, with_log_sum=with_log_sum) for name in ("flash", "cudnn", "efficient")}
    if shape.softcap is not None or shape.bias is not None or shape.window is not None:
        found[FLEX] = FlexAttention(shape, with_log_sum=with_log_sum)
    if shape.softcap is None and not with_log_sum:
        found["math"] = _by_backend("math", shape, with_log_sum=False)
    else:
        found["math"] = _by_operators(shape, with_log_sum=with_log_sum)
    return {name: _whole(name, call, masks.rows_without_key(shape)) for name, call in found.items()}


def _is_plain(shape: Shape) -> bool:
    usual = shape.kv_heads is None and shape.window is None and shape.softcap is None and shape.bias is None
    return usual and (shape.kv_seqlen is None or not shape.causal)


def _plain(name: str) -> Callable[..., Tensor]:
    def sdpa(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool, scale: float | None = None) -> Tensor:
        with only(name, on_host=not query.is_cuda):
            return F.scaled_dot_product_attention(query, key, value, is_causal=is_causal, scale=scale)

    sdpa.__name__ = f"sdpa_{name}"
    return sdpa


def _whole(name: str, call: Call, empty: int) -> Callable[..., Any]:
    """The call, with `empty` rows of zeros before its answer, and -inf before its log-sum-exp."""

    def attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None, **of_shape: Any) -> Any:
        """It is called as a candidate is, with what the shape says: `call` was made for that."""
        if not empty:
            return call(query, key, value, bias)
        found = call(query[:, :, empty:], key, value, None if bias is None else bias[:, :, empty:])
        answer, *log_sums = found if isinstance(found, tuple) else (found,)
        answer = F.pad(answer, (0, 0, empty, 0))
        return (answer, F.pad(log_sums[0], (empty, 0), value=-math.inf)) if log_sums else answer

    attention.__name__ = "flex_attention" if name == FLEX else f"sdpa_{name}"
    return attention


def _by_backend(name: str, shape: Shape, *, with_log_sum: bool) -> Call:
    square = masks.is_square(shape)
    masked = masks.hides(shape) and not square
    lower_right = masked and shape.window is None and shape.bias is None

    def mask_of(query: Tensor, bias: Tensor | None) -> Tensor | None:
        """What is added to the scores; made in the call only where a bias is in it."""
        mask = None
        if masked or (bias is not None and square):
            mask = masks.additive(shape, query.dtype, query.device)
        if bias is None:
            return mask
        return bias if mask is None else bias + mask

    def call(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Any:
        if name == "flash" and query.is_cuda and masked and bias is None:
            return _flash(shape, query, key, value, with_log_sum=with_log_sum)
        if name == "efficient" and shape.group > 1:
            key, value = (one.repeat_interleave(shape.group, 1) for one in (key, value))
        if name == "efficient" and lower_right and not with_log_sum and query.is_cuda:
            from torch.nn.attention.bias import causal_lower_right

            mask: Any = causal_lower_right(query.shape[2], key.shape[2])
        else:
            mask = mask_of(query, bias)
        is_causal = square and mask is None
        if with_log_sum:
            return _with_log_sum(name, shape, query, key, value, mask, is_causal=is_causal)
        with only(name, on_host=not query.is_cuda):
            return F.scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask=mask,
                is_causal=is_causal,
                scale=shape.scale,
                enable_gqa=key.shape[1] != query.shape[1],
            )

    return call


def _flash(shape: Shape, query: Tensor, key: Tensor, value: Tensor, *, with_log_sum: bool) -> Any:
    """Flash attention on a GPU, whose own masks are aligned to the last key; -1: no window on this side."""
    left = -1 if shape.window is None else shape.window - 1
    right = 0 if shape.causal else left
    answer, log_sums, *_ = torch.ops.aten._flash_attention_forward(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        None,
        None,
        query.shape[2],
        key.shape[2],
        0.0,
        shape.causal,
        False,
        scale=shape.factor,
        window_size_left=left,
        window_size_right=right,
    )
    return (answer.transpose(1, 2), log_sums) if with_log_sum else answer.transpose(1, 2)


def _with_log_sum(
    name: str, shape: Shape, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, is_causal: bool
) -> tuple[Tensor, Tensor]:
    """What SDPA calls below, which returns the log-sum-exp too."""
    aten, scale = torch.ops.aten, shape.factor
    rows = query.shape[:3]
    if name == "flash" and not query.is_cuda:
        found = aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, is_causal, attn_mask=mask, scale=scale
        )
    elif not query.is_cuda:
        raise RuntimeError(f"PyTorch has no {name} attention on {query.device}")
    elif not _usable(name, query, key, value, mask, is_causal=is_causal):
        raise RuntimeError(f"PyTorch's {name} attention does not compute this problem")
    elif name == "flash":
        found = aten._scaled_dot_product_flash_attention(query, key, value, 0.0, is_causal, scale=scale)
    else:
        if mask is not None:
            mask = mask.expand(*rows, key.shape[2])
        if name == "cudnn":
            found = aten._scaled_dot_product_cudnn_attention(query, key, value, mask, True, 0.0, is_causal, scale=scale)
        else:
            found = aten._scaled_dot_product_efficient_attention(
                query, key, value, mask, True, 0.0, is_causal, scale=scale
            )
    answer, log_sums = found[0], found[1]
    if name == "efficient":
        log_sums = log_sums[..., : rows[2]]  # it has room for whole tiles
    return answer, log_sums.reshape(rows)


def _usable(name: str, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, is_causal: bool) -> bool:
    """What SDPA asks before it calls one of these operators, which don't ask: of float32, cuDNN's makes NaN."""
    backends = torch.backends.cuda
    params = backends.SDPAParams(query, key, value, mask, 0.0, is_causal, key.shape[1] != query.shape[1])
    if name == "flash":
        return backends.can_use_flash_attention(params)
    if name == "cudnn":
        return backends.can_use_cudnn_attention(params)
    return backends.can_use_efficient_attention(params)


def _by_operators(shape: Shape, *, with_log_sum: bool) -> Call:
    """One operator after another in float32, as SDPA's math backend does it."""

    def call(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Any:
        key, value = (one.repeat_interleave(shape.group, 1).float() for one in (key, value))
        scores = query.float() @ key.transpose(2, 3) * shape.factor
        if shape.softcap is not None:
            scores = shape.softcap * torch.tanh(scores / shape.softcap)
        if bias is not None:
            scores = scores + bias
        if masks.hides(shape):
            scores = scores + masks.additive(shape, query.dtype, query.device)
        answer = (torch.softmax(scores, -1) @ value).to(query.dtype)
        return (answer, torch.logsumexp(scores, -1)) if with_log_sum else answer

    return call
