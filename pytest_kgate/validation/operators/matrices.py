"""Matrix products, convolutions, attention: among them int8, a list of products, and operators in channels-last."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from pytest_kgate.problems.problem import Problem
from pytest_kgate.validation.operators.operator import Operator
from pytest_kgate.validation.operators.operator import integers
from pytest_kgate.validation.operators.operator import normal

_HALF = torch.float16


def _side(large: bool) -> int:
    return 1024 if large else 48


def gemm(large: bool) -> Problem:
    return Problem(
        name="gemm",
        inputs=lambda g: tuple(normal(g, _side(large), _side(large), dtype=_HALF) for _ in range(2)),
        reference=torch.matmul,
        exact=lambda a, b: a.double() @ b.double(),
    )


def gemm_bias_gelu(large: bool) -> Problem:
    def fused(a: Tensor, b: Tensor, bias: Tensor) -> Tensor:
        return F.gelu(torch.addmm(bias, a, b))

    n = _side(large)
    return Problem(
        name="gemm with bias and gelu",
        inputs=lambda g: (
            *(normal(g, n, n, dtype=torch.bfloat16) for _ in range(2)),
            normal(g, n, dtype=torch.bfloat16),
        ),
        reference=fused,
        exact=lambda *inputs: fused(*(one.double() for one in inputs)),
    )


def int8_gemm(large: bool) -> Problem:
    n = _side(large)
    return Problem(
        name="int8 gemm",
        inputs=lambda g: tuple((integers(g, 256, n, n) - 128).to(torch.int8) for _ in range(2)),
        reference=torch._int_mm,
        exact=lambda a, b: a.double() @ b.double(),
    )


def batched_gemm(large: bool) -> Problem:
    n = _side(large)

    def fused(a: Tensor, b: Tensor, bias: Tensor) -> Tensor:
        return torch.baddbmm(bias, a, b)

    return Problem(
        name="batched gemm with expanded bias",
        inputs=lambda g: (normal(g, 4, n, n), normal(g, 4, n, n), normal(g, 1, 1, n).expand(4, n, n)),
        reference=fused,
        exact=lambda *inputs: fused(*(one.double() for one in inputs)),
    )


def grouped_gemm(large: bool) -> Problem:
    n = _side(large)

    def grouped(tokens: list[Tensor], weights: list[Tensor]) -> list[Tensor]:
        return [a @ b for a, b in zip(tokens, weights, strict=True)]

    return Problem(
        name="grouped gemm",
        inputs=lambda g: (
            [normal(g, rows, n, dtype=_HALF) for rows in (n, 3, n // 2)],
            [normal(g, n, n, dtype=_HALF) for _ in range(3)],
        ),
        reference=grouped,
        exact=lambda tokens, weights: grouped([a.double() for a in tokens], [b.double() for b in weights]),
    )


def conv2d(large: bool) -> Problem:
    n, c, side = (16, 64, 56) if large else (2, 8, 9)
    last = torch.channels_last
    return Problem(
        name="conv2d channels_last",
        inputs=lambda g: (normal(g, n, c, side, side).to(memory_format=last), normal(g, c, c, 3, 3)),
        reference=lambda x, w: F.conv2d(x, w, padding=1),
        exact=lambda x, w: F.conv2d(x.double(), w.double(), padding=1),
    )


def own_conv2d(x: Tensor, w: Tensor) -> Tensor:
    return (w.flatten(1) @ F.unfold(x, 3, padding=1)).view(len(x), len(w), *x.shape[2:])


def depthwise(large: bool) -> Problem:
    n, c, length = (16, 512, 2048) if large else (2, 6, 50)
    return Problem(
        name="causal depthwise conv1d",
        inputs=lambda g: (normal(g, n, c, length), normal(g, c, 1, 4)),
        reference=lambda x, w: F.conv1d(F.pad(x, (3, 0)), w, groups=c),
        exact=lambda x, w: F.conv1d(F.pad(x.double(), (3, 0)), w.double(), groups=c),
    )


def own_depthwise(x: Tensor, w: Tensor) -> Tensor:
    padded = F.pad(x, (3, 0))
    taps = (padded[..., shift : shift + x.shape[-1]] * w[:, 0, shift, None] for shift in range(4))
    return torch.stack(list(taps)).sum(0)


def attention(large: bool) -> Problem:
    shape = (4, 8, 512, 64) if large else (1, 2, 40, 16)

    def with_lse(q: Tensor, k: Tensor, v: Tensor) -> dict[str, Tensor]:
        scores = (q @ k.transpose(-2, -1)) * shape[-1] ** -0.5
        return {"out": torch.softmax(scores, -1) @ v, "lse": torch.logsumexp(scores, -1)}

    return Problem(
        name="attention with log-sum-exp",
        inputs=lambda g: tuple(normal(g, *shape) for _ in range(3)),
        hard_inputs=lambda g: (normal(g, *shape) * 8, normal(g, *shape), normal(g, *shape)),
        reference=with_lse,
        exact=lambda *inputs: with_lse(*(one.double() for one in inputs)),
    )


def own_attention(q: Tensor, k: Tensor, v: Tensor) -> dict[str, Tensor]:
    scores = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
    largest = scores.amax(-1, keepdim=True)
    weights = (scores - largest).exp()
    total = weights.sum(-1, keepdim=True)
    return {"lse": (total.log() + largest).squeeze(-1), "out": weights @ v / total}


OPERATORS = (
    Operator("float16", gemm, lambda a, b: (b.t() @ a.t()).t().contiguous()),
    Operator("fused", gemm_bias_gelu, lambda a, b, bias: F.gelu(a.float() @ b.float() + bias.float()).to(a.dtype)),
    Operator("int8 in, int32 out", int8_gemm, lambda a, b: (a.double() @ b.double()).to(torch.int32)),
    Operator("an input of stride 0", batched_gemm, lambda a, b, bias: a @ b + bias),
    Operator(
        "lists in and out",
        grouped_gemm,
        lambda tokens, weights: tuple((a.float() @ b.float()).half() for a, b in zip(tokens, weights, strict=True)),
    ),
    Operator("channels-last input", conv2d, own_conv2d),
    Operator("causal", depthwise, own_depthwise),
    Operator("a dict of outputs", attention, own_attention),
)
