"""Backward passes, made from forward problems by `Problem.backward`."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from pytest_kgate.problems.backward import Backward
from pytest_kgate.problems.problem import Problem
from pytest_kgate.validation.operators.operator import Operator
from pytest_kgate.validation.operators.operator import integers
from pytest_kgate.validation.operators.operator import normal
from pytest_kgate.validation.operators.rows import gelu
from pytest_kgate.validation.operators.rows import softmax


def softmax_backward(large: bool) -> Problem:
    return softmax(large).backward()


def own_softmax_backward(x: Tensor, dy: Tensor) -> Tensor:
    y = torch.softmax(x.float(), -1)
    return (y * (dy.float() - (dy.float() * y).sum(-1, keepdim=True))).to(x.dtype)


def cross_entropy_backward(large: bool) -> Problem:
    rows, classes = (4096, 8192) if large else (50, 40)
    return Problem(
        name="cross-entropy",
        inputs=lambda g: (normal(g, rows, classes), integers(g, classes, rows)),
        reference=F.cross_entropy,
        exact=lambda x, target: F.cross_entropy(x.double(), target),
    ).backward()


def own_cross_entropy_backward(x: Tensor, target: Tensor, dy: Tensor) -> Tensor:
    return (torch.softmax(x, -1) - F.one_hot(target, x.shape[-1])) * (dy / len(x))


def gelu_backward(large: bool) -> Problem:
    return gelu(large).backward()


def layernorm_backward(large: bool) -> Problem:
    rows, width = (4096, 4096) if large else (37, 96)
    return Problem(
        name="layernorm",
        inputs=lambda g: (normal(g, rows, width), normal(g, width), normal(g, width)),
        reference=lambda x, w, b: F.layer_norm(x, [width], w, b),
        exact=lambda x, w, b: F.layer_norm(x.double(), [width], w.double(), b.double()),
    ).backward()


def own_layernorm_backward(x: Tensor, w: Tensor, b: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    var, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    rstd = (var + 1e-5).rsqrt()
    y, wdy = (x - mean) * rstd, dy * w
    dx = rstd * (wdy - wdy.mean(-1, keepdim=True) - y * (wdy * y).mean(-1, keepdim=True))
    return dx, (dy * y).sum(0), dy.sum(0)


OPERATORS = (
    Operator("gradient", softmax_backward, own_softmax_backward),
    Operator("gradient of a scalar, integers among the inputs", cross_entropy_backward, own_cross_entropy_backward),
    Operator("gradient by autograd, forward pass not timed", gelu_backward, Backward(F.gelu)),
    Operator("three gradients", layernorm_backward, own_layernorm_backward),
)
