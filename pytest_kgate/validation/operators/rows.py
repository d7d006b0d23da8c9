"""Operators that work row by row: activations, normalisations, softmax, some in place or with several outputs."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from pytest_kgate.problems.problem import Problem
from pytest_kgate.validation.operators.operator import Operator
from pytest_kgate.validation.operators.operator import normal

_HALF = torch.float16


def _rows(large: bool) -> tuple[int, int]:
    return (4096, 4096) if large else (37, 96)


def relu(large: bool) -> Problem:
    return Problem(
        name="relu",
        inputs=lambda g: (normal(g, *_rows(large)),),
        reference=torch.relu,
        exact=lambda x: torch.relu(x.double()),
    )


def gelu(large: bool) -> Problem:
    return Problem(
        name="gelu in bfloat16",
        inputs=lambda g: (normal(g, *_rows(large), dtype=torch.bfloat16),),
        reference=F.gelu,
        exact=lambda x: F.gelu(x.double()),
    )


def swiglu(large: bool) -> Problem:
    return Problem(
        name="swiglu",
        inputs=lambda g: (normal(g, *_rows(large), dtype=_HALF), normal(g, *_rows(large), dtype=_HALF)),
        reference=lambda x, gate: F.silu(gate) * x,
        exact=lambda x, gate: F.silu(gate.double()) * x.double(),
    )


def masked_scale(large: bool) -> Problem:
    def scaled(x: Tensor, mask: Tensor, factor: float, bias: Tensor | None) -> Tensor:
        y = torch.where(mask, x * factor, 0)
        return y if bias is None else y + bias

    return Problem(
        name="masked scale",
        inputs=lambda g: (normal(g, *_rows(large)), normal(g, *_rows(large)) > 0, 0.5, None),
        reference=scaled,
        exact=lambda x, *rest: scaled(x.double(), *rest),
    )


def softmax(large: bool) -> Problem:
    return Problem(
        name="softmax",
        inputs=lambda g: (normal(g, *_rows(large), dtype=_HALF),),
        hard_inputs=lambda g: (normal(g, *_rows(large), dtype=_HALF) * 30,),
        reference=lambda x: torch.softmax(x, -1),
        exact=lambda x: torch.softmax(x.double(), -1),
    )


def softmax_with_lse(large: bool) -> Problem:
    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.softmax(x, -1), torch.logsumexp(x, -1)

    return Problem(
        name="softmax with log-sum-exp",
        inputs=lambda g: (normal(g, *_rows(large)),),
        reference=both,
        exact=lambda x: both(x.double()),
    )


class Normed(NamedTuple):
    """What a layer norm leaves for its backward pass."""

    out: Tensor
    mean: Tensor
    rstd: Tensor


def layernorm(large: bool) -> Problem:
    width = _rows(large)[1]
    return Problem(
        name="layernorm with mean and rstd",
        inputs=lambda g: (normal(g, *_rows(large)), normal(g, width), normal(g, width)),
        reference=lambda x, w, b: Normed(*torch.native_layer_norm(x, [width], w, b, 1e-5)),
        exact=lambda x, w, b: torch.native_layer_norm(x.double(), [width], w.double(), b.double(), 1e-5),
    )


def own_layernorm(x: Tensor, w: Tensor, b: Tensor) -> Normed:
    mean = x.mean(-1, keepdim=True)
    rstd = (x.var(-1, correction=0, keepdim=True) + 1e-5).rsqrt()
    return Normed((x - mean) * rstd * w + b, mean, rstd)


def fused_add_rmsnorm(large: bool) -> Problem:
    def exact(x: Tensor, residual: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        total = x.double() + residual.double()
        return total * (total.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * w.double(), total

    rows, width = _rows(large)
    return Problem(
        name="fused_add_rmsnorm",
        inputs=lambda g: (*(normal(g, rows, width, dtype=_HALF) for _ in range(2)), normal(g, width, dtype=_HALF)),
        reference=add_rmsnorm_,
        exact=exact,
        mutates=(0, 1),
    )


def add_rmsnorm_(x: Tensor, residual: Tensor, w: Tensor) -> None:
    total = x.float() + residual.float()
    residual.copy_(total)
    x.copy_(total * (total.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * w.float())


def groupnorm(large: bool) -> Problem:
    shape = (16, 64, 64, 64) if large else (3, 8, 5, 7)
    return Problem(
        name="groupnorm",
        inputs=lambda g: (normal(g, *shape), normal(g, shape[1]), normal(g, shape[1])),
        reference=lambda x, w, b: F.group_norm(x, 4, w, b),
        exact=lambda x, w, b: F.group_norm(x.double(), 4, w.double(), b.double()),
    )


def batchnorm(large: bool) -> Problem:
    def exact(x: Tensor, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, var = mean.double(), var.double()
        return F.batch_norm(x.double(), mean, var, training=True), mean, var

    shape = (32, 64, 64, 64) if large else (5, 40, 6, 5)
    return Problem(
        name="batchnorm with running statistics",
        inputs=lambda g: (normal(g, *shape), normal(g, shape[1]), normal(g, shape[1]).square()),
        reference=lambda x, mean, var: F.batch_norm(x, mean, var, training=True),
        exact=exact,
        mutates=(1, 2),
    )


def own_batchnorm(x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    own_var, own_mean = torch.var_mean(x, (0, 2, 3), correction=0)
    count = x.numel() // x.shape[1]
    mean.mul_(0.9).add_(own_mean, alpha=0.1)
    var.mul_(0.9).add_(own_var, alpha=0.1 * count / (count - 1))
    return (x - own_mean[:, None, None]) * (own_var[:, None, None] + 1e-5).rsqrt()


OPERATORS = (
    Operator("one output", relu, lambda x: x.clamp_min(0)),
    Operator("bfloat16", gelu, lambda x: F.gelu(x.float()).to(x.dtype)),
    Operator("float16, two inputs", swiglu, lambda x, gate: gate * torch.sigmoid(gate) * x),
    Operator(
        "a mask, a number and None among the inputs",
        masked_scale,
        lambda x, mask, factor, bias: x * mask * factor,
    ),
    Operator("hard inputs", softmax, lambda x: torch.softmax(x.float(), -1).to(x.dtype)),
    Operator("two outputs", softmax_with_lse, lambda x: (F.log_softmax(x, -1).exp(), x.exp().sum(-1).log())),
    Operator("three outputs, a named tuple", layernorm, own_layernorm),
    Operator("in place, two inputs changed", fused_add_rmsnorm, lambda x, r, w: add_rmsnorm_(x, r, w)),
    Operator("normalised over groups", groupnorm, lambda x, w, b: F.group_norm(x, 4, w, b)),
    Operator("an output, and statistics in place", batchnorm, own_batchnorm),
)
