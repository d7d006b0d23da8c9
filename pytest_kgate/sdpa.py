"""Scaled-dot-product attention as a problem: inputs, PyTorch's backends as references, the exact answer."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (torch's own convention)
from torch import Generator
from torch import Tensor

from pytest_kgate.errors import UsageError
from pytest_kgate.problem import Problem
from pytest_kgate.problem import Shape

_SWITCHES: Mapping[str, tuple[Callable[[bool], Any], Callable[[], Any]]] = MappingProxyType(
    {
        "flash": (torch.backends.cuda.enable_flash_sdp, torch.backends.cuda.flash_sdp_enabled),
        "cudnn": (torch.backends.cuda.enable_cudnn_sdp, torch.backends.cuda.cudnn_sdp_enabled),
        "efficient": (torch.backends.cuda.enable_mem_efficient_sdp, torch.backends.cuda.mem_efficient_sdp_enabled),
        "math": (torch.backends.cuda.enable_math_sdp, torch.backends.cuda.math_sdp_enabled),
    }
)
"""How each of PyTorch's SDPA backends is switched on and off, and asked for."""

BACKENDS = tuple(_SWITCHES)
"""PyTorch's SDPA backends, by the names of `--kgate-sdpa-backend`."""

DTYPES = ("float16", "bfloat16", "float32")

_SHARP = 6.0
"""Queries of the hard draws are this much longer: logits of standard deviation 6 make the softmax pick few keys, so
that an average over all of them, which is close to right on normal draws, is far off."""

_SHARP_VALUES = 0.5
"""Values of the hard draws are halved: an output near one value row then still rounds to 16 bits within 1e-3."""

_SMALL_ROWS = 256
"""Of the smaller problem that stands for a large one under compute-sanitizer."""

_LARGEST_TILE = 128
"""Rows; what is left over after whole tiles of 128 is left over after whole tiles of 64 and 32 too."""

_CHUNK_BYTES = 2**28
"""Float64 scores held at once while computing the exact answer."""


def sdpa_problem(shape: Shape, dtype: str = "float16", backend: str | None = None, seed: int | None = None) -> Problem:
    """Attention of `(batch, heads, seqlen, head_dim)` tensors, against one SDPA backend or the fastest.

    `dtype` is one of float16, bfloat16, float32. `backend` is one of flash, cudnn, efficient, math, or `fastest`
    (also None): all are tried on the device, and the fastest is raced against. `seed` replaces the session's.
    """
    if not isinstance(shape, Shape):
        raise UsageError(
            f"sdpa_oracle takes a Shape, got {shape!r}.",
            "Write Shape(batch, heads, seqlen, head_dim, causal=False).",
        )
    if dtype not in DTYPES:
        raise UsageError(f"sdpa_oracle has no dtype {dtype!r}.", f"Use one of {', '.join(DTYPES)}.")
    if backend not in (None, "fastest", *BACKENDS):
        raise UsageError(f"There is no SDPA backend {backend!r}.", f"Use fastest or one of {', '.join(BACKENDS)}.")
    names = list(BACKENDS) if backend in (None, "fastest") else [str(backend)]
    element = getattr(torch, dtype)
    elements = shape.batch * shape.heads * shape.seqlen * shape.head_dim
    small = _smaller(shape)
    pairs = shape.seqlen * (shape.seqlen + 1) / 2 if shape.causal else shape.seqlen**2
    return Problem(
        name=f"sdpa {shape} {dtype}",
        inputs=functools.partial(_draw, shape, element, 1.0, 1.0),
        hard_inputs=functools.partial(_draw, shape, element, _SHARP, _SHARP_VALUES),
        reference={name: _backend_call(name) for name in names},
        exact=exact_attention,
        params=MappingProxyType({"is_causal": shape.causal}),
        flops=4.0 * shape.batch * shape.heads * pairs * shape.head_dim,
        bytes=4.0 * elements * element.itemsize,
        shape=shape,
        dtype=dtype,
        seed=seed,
        small=None if small == shape else sdpa_problem(small, dtype, backend, seed),
    )


def _smaller(shape: Shape) -> Shape:
    """At most two batches, two heads and some 256 rows: several tiles, and a last tile as full as the shape's own."""
    rows = shape.seqlen if shape.seqlen <= _SMALL_ROWS else _SMALL_ROWS + shape.seqlen % _LARGEST_TILE
    return Shape(min(shape.batch, 2), min(shape.heads, 2), rows, shape.head_dim, shape.causal)


def _draw(
    shape: Shape, element: torch.dtype, sharpness: float, values: float, generator: Generator
) -> tuple[Tensor, ...]:
    extents = (shape.batch, shape.heads, shape.seqlen, shape.head_dim)
    query, key, value = (
        torch.randn(extents, generator=generator, device=generator.device, dtype=torch.float32) * factor
        for factor in (sharpness, 1.0, values)
    )
    return query.to(element), key.to(element), value.to(element)


def _backend_call(name: str) -> Callable[..., Tensor]:
    def sdpa(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
        with _only(name):
            return F.scaled_dot_product_attention(query, key, value, is_causal=is_causal)

    sdpa.__name__ = f"sdpa_{name}"
    return sdpa


class _only:  # noqa: N801  (read as a verb: `with _only("flash")`)
    """No other backend in the block: what `torch.nn.attention.sdpa_kernel` does, in 1 us instead of 20.

    A round captures dozens of calls, and the wall clock would count that time against PyTorch.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._before = [enabled() for _, enabled in _SWITCHES.values()]
        for name, (enable, _) in _SWITCHES.items():
            enable(name == self._name)

    def __exit__(self, *_: object) -> None:
        for (enable, _enabled), before in zip(_SWITCHES.values(), self._before, strict=True):
            enable(before)


def exact_attention(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool = False) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V in float64, on the tensors' own device, a few heads and rows at a time.

    Takes and returns `(batch, heads, seqlen, head_dim)`.
    """
    batch, heads, seqlen, head_dim = query.shape
    q, k, v = (tensor.reshape(batch * heads, seqlen, head_dim) for tensor in (query, key, value))
    out = torch.empty(q.shape, dtype=torch.float64, device=q.device)
    rows = max(1, min(seqlen, _CHUNK_BYTES // (8 * seqlen)))
    slices = max(1, _CHUNK_BYTES // (8 * seqlen * rows))
    columns = torch.arange(seqlen, device=q.device)
    for head in range(0, batch * heads, slices):
        some = slice(head, head + slices)
        keys, values = k[some].double().transpose(1, 2), v[some].double()
        for row in range(0, seqlen, rows):
            scores = q[some, row : row + rows].double() @ keys / math.sqrt(head_dim)
            if is_causal:
                future = columns[None, :] > columns[row : row + rows, None]
                scores.masked_fill_(future, -math.inf)
            out[some, row : row + rows] = torch.softmax(scores, dim=-1) @ values
    return out.reshape(query.shape)
