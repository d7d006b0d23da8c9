"""Scaled-dot-product attention as a problem: inputs, PyTorch's backends as references, the exact answer."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (torch's own convention)
from torch import Generator
from torch import Tensor

from pytest_kgate.errors import UsageError
from pytest_kgate.problems.attention.exact import exact_attention
from pytest_kgate.problems.attention.mutants import attention_mutants
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.shape import Shape

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

_LOOKUP_EVERY = 4
_LOOKUP_LOGIT = 200.0
"""Every fourth query of the hard draws, the last among them, is its own key made longer: its logit there is about 200,
its answer that key's value. An exp without the maximum subtracted overflows (float32 does at 89), and a key or a tile
that is left out shows, however many keys there are."""

_SMALL_ROWS = 256
"""Of the smaller problem that stands for a large one under compute-sanitizer."""

_LARGEST_TILE = 128
"""Rows; what is left over after whole tiles of 128 is left over after whole tiles of 64 and 32 too."""


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
    made = _made(shape, dtype, None if backend == "fastest" else backend)
    small = None if made.small is None else replace(made.small, seed=seed)
    assert isinstance(made.reference, Mapping)
    return replace(made, seed=seed, small=small, reference=dict(made.reference))


def arguments_of(problem: Problem) -> dict[str, Any] | None:
    """Shape and dtype of which `sdpa_problem` makes the same functions, in types of JSON; None of another problem."""
    if problem.shape is None or problem.dtype not in DTYPES or not isinstance(problem.reference, Mapping):
        return None
    for backend in (None, *problem.reference):
        if backend is not None and backend not in BACKENDS:
            return None
        made = _made(problem.shape, problem.dtype, backend)
        assert isinstance(made.reference, Mapping)
        functions = ("inputs", "hard_inputs", "exact", "equal")
        alike = all(getattr(problem, role) is getattr(made, role) for role in functions)
        if alike and all(made.reference.get(name) is one for name, one in problem.reference.items()):
            return {"shape": problem.shape.arguments(), "dtype": problem.dtype}
    return None


@functools.cache
def _made(shape: Shape, dtype: str, backend: str | None) -> Problem:
    """One object for one problem, so that those who ask for it in several tests are known to mean the same."""
    names = list(BACKENDS) if backend is None else [backend]
    element = getattr(torch, dtype)
    elements = shape.batch * shape.heads * shape.seqlen * shape.head_dim
    small = _smaller(shape)
    pairs = shape.seqlen * (shape.seqlen + 1) / 2 if shape.causal else shape.seqlen**2
    return Problem(
        name=f"sdpa {shape} {dtype}",
        inputs=functools.partial(_draw, shape, element, False),
        hard_inputs=functools.partial(_draw, shape, element, True),
        reference={name: _backend_call(name) for name in names},
        exact=exact_attention,
        mutants=attention_mutants(shape, element),
        params=MappingProxyType({"is_causal": shape.causal}),
        flops=4.0 * shape.batch * shape.heads * pairs * shape.head_dim,
        bytes=4.0 * elements * element.itemsize,
        shape=shape,
        dtype=dtype,
        small=None if small == shape else _made(small, dtype, backend),
    )


def _smaller(shape: Shape) -> Shape:
    """At most two batches, two heads and some 256 rows: several tiles, and a last tile as full as the shape's own."""
    rows = shape.seqlen if shape.seqlen <= _SMALL_ROWS else _SMALL_ROWS + shape.seqlen % _LARGEST_TILE
    return Shape(min(shape.batch, 2), min(shape.heads, 2), rows, shape.head_dim, shape.causal)


def _draw(shape: Shape, element: torch.dtype, hard: bool, generator: Generator) -> tuple[Tensor, ...]:
    extents = (shape.batch, shape.heads, shape.seqlen, shape.head_dim)
    query, key, value = (
        torch.randn(extents, generator=generator, device=generator.device, dtype=torch.float32) for _ in range(3)
    )
    if hard:
        query, value = query * _SHARP, value * _SHARP_VALUES
        lookups = slice((shape.seqlen - 1) % _LOOKUP_EVERY, None, _LOOKUP_EVERY)
        query[:, :, lookups] = key[:, :, lookups] * (_LOOKUP_LOGIT / math.sqrt(shape.head_dim))
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
