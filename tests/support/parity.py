"""What the tests of the shipped kernels compare: answers with exact ones, errors with SDPA's."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from pytest_kgate import Shape
from pytest_kgate.build.kernel import Kernel
from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.build.registry import implementations
from pytest_kgate.errors import LibraryMissing
from pytest_kgate.problems.attention.exact import exact_attention
from pytest_kgate.problems.attention.problem import sdpa_problem

TOLERANCE = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}
TIMES_THE_REFERENCE = 2.0
LENGTHS = (1, 17, 63, 64, 65, 127, 128, 512, 1000, 1024)
LONG = (2048, 4096, 8192)
HEAD_DIMS = (64, 80, 96, 128)
HALVES = ("float16", "bfloat16")
_READY = [entry for entry in implementations().values() if entry.status == "ready"]
HOPPER = ("hopper", "fp8")
"""What is for sm_90a alone."""
EIGHT_BITS = ("fp8",)
"""What takes no other elements; of it are the tests in test_fp8.py."""
WIDER = ("hopper", "decode")
"""What computes grouped heads, other numbers of keys and the log-sum-exp itself: test_wider_kernels.py."""
CUDA = [entry.name for entry in _READY if entry.device_kind == "cuda" and entry.name not in EIGHT_BITS]
PLAIN = [name for name in CUDA if name not in WIDER]
HOST = [entry.name for entry in _READY if entry.device_kind == "host"]


@dataclass(frozen=True)
class Asked:
    """One draw of a problem, and what is known of it."""

    shape: Shape
    dtype: str
    inputs: tuple[Tensor, Tensor, Tensor]
    exact: Tensor
    """In float64."""
    reference_error: float
    """Max |SDPA - exact|."""


def loaded(impl: str, knobs: dict[str, int] | None = None) -> Kernel:
    """The kernel; a skip where the library that it opens is not installed, or the GPU is none that it is for."""
    if impl in HOPPER and torch.cuda.get_device_capability() != (9, 0):
        pytest.skip(f"{impl} is for sm_90a")
    try:
        return load_kernel(impl, knobs)
    except LibraryMissing as missing:
        pytest.skip(str(missing))


def shapes_of(head_dim: int, lengths: Iterable[int], sizes: Iterable[tuple[int, int]] = ((1, 2),)) -> list[Shape]:
    """Both masks of each length; batch and heads take turns through `sizes`."""
    turns = itertools.cycle(sizes)
    return [Shape(*next(turns), length, head_dim, causal) for length in lengths for causal in (False, True)]


def draw(shape: tuple[int, ...], dtype: str = "float32", device: str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of (batch, heads, kv_heads, seqlen, kv_seqlen, head_dim)."""
    batch, heads, kv_heads, rows, keys, head_dim = shape
    generator = torch.Generator(device).manual_seed(0)
    q, k, v = (
        torch.randn(*extents, head_dim, generator=generator, device=device).to(getattr(torch, dtype))
        for extents in ((batch, heads, rows), (batch, kv_heads, keys), (batch, kv_heads, keys))
    )
    return q, k, v


def asked(shapes: Iterable[Shape], dtype: str, device: str) -> Iterator[Asked]:
    """A normal and a hard draw of each."""
    for shape in shapes:
        problem = sdpa_problem(shape, dtype)
        for seed, draw in enumerate((problem.inputs, problem.hard_inputs)):
            q, k, v = draw(torch.Generator(device).manual_seed(seed))
            exact = exact_attention(q, k, v, is_causal=shape.causal)
            sdpa = scaled_dot_product_attention(q, k, v, is_causal=shape.causal)
            yield Asked(shape, dtype, (q, k, v), exact, float((sdpa.double() - exact).abs().max()))


@dataclass(frozen=True)
class Errors:
    """The worst of a shape's draws, as max |answer - exact|."""

    mine: float = 0.0
    reference: float = 0.0
    allowed: float = 0.0

    @property
    def share(self) -> float:
        """Of what is allowed. The only key of a row of one leaves nothing to err in, and nothing allowed."""
        return self.mine / self.allowed if self.mine else 0.0

    def __str__(self) -> str:
        return f"{self.mine:.2e}, of SDPA {self.reference:.2e}, allowed {self.allowed:.2e}"


def errors_of(kernel: Kernel, questions: Iterable[Asked]) -> dict[str, Errors]:
    """By shape. NaN is infinitely wrong, and a zone behind the output must survive."""
    found: dict[str, Errors] = {}
    for one in questions:
        q, k, v = one.inputs
        guarded = torch.full((q.numel() + 512,), float("nan"), dtype=q.dtype, device=q.device)
        guarded[q.numel() :] = 7.0
        out = guarded[: q.numel()].view(q.shape)
        kernel(q, k, v, is_causal=one.shape.causal, out=out)
        assert bool((guarded[q.numel() :] == 7.0).all()), f"{one.shape}: wrote behind its output"
        before = found.get(str(one.shape), Errors())
        mine = max(before.mine, float((out.double() - one.exact).abs().nan_to_num(nan=float("inf")).max()))
        reference = max(before.reference, one.reference_error)
        allowed = TOLERANCE[one.dtype]
        if one.dtype in HALVES:  # in float32 both err by a few roundings, and their ratio is luck
            allowed = min(allowed, TIMES_THE_REFERENCE * reference)
        found[str(one.shape)] = Errors(mine, reference, allowed)
    return found


def too_wrong(found: dict[str, Errors]) -> dict[str, str]:
    """The shapes on which it errs by more than is allowed."""
    return {shape: str(errors) for shape, errors in found.items() if not errors.mine <= errors.allowed}


def wrong_shapes(kernel: Kernel, shapes: Iterable[Shape], dtype: str, device: str) -> dict[str, str]:
    """The shapes on which the kernel is too wrong, in draws that are made for it and forgotten one by one."""
    return too_wrong(errors_of(kernel, asked(shapes, dtype, device)))
