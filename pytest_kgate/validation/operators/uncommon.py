"""What few operators have: modules, an `out` argument, empty tensors, unsigned integers, layouts other than strided.

What has no dense memory, and so no elements to compare, is refused in a sentence, which the table shows.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from pytest_kgate.problems.problem import Problem
from pytest_kgate.validation.operators.operator import Operator
from pytest_kgate.validation.operators.operator import integers
from pytest_kgate.validation.operators.operator import normal


def _rows(large: bool) -> tuple[int, int]:
    return (4096, 1024) if large else (37, 96)


def mlp(large: bool) -> Problem:
    rows, width = _rows(large)
    g = torch.Generator().manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.GELU(), torch.nn.Linear(width, width // 2))
    for parameter in model.parameters():
        parameter.data.copy_(normal(g, *parameter.shape) * width**-0.5)

    def draw(g: torch.Generator) -> tuple[Tensor, ...]:
        model.to(g.device)
        return normal(g, rows, width), *(one.detach() for one in model.parameters())

    def exact(x: Tensor, *weights: Tensor) -> Tensor:
        exactly: Tensor = copy.deepcopy(model).double()(x.double())
        return exactly

    class Mlp(torch.nn.Module):
        """Takes the weights that candidates are given, too, and has its own."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = model

        def forward(self, x: Tensor, *weights: Tensor) -> Tensor:
            answer: Tensor = self.layers(x)
            return answer

    return Problem(name="MLP", inputs=draw, reference=Mlp(), exact=exact)


class OwnMlp(torch.nn.Module):
    """An honest candidate for a module: an MLP that is given its weights, and has no layers of its own."""

    def forward(self, x: Tensor, w: Tensor, b: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        """Compute what the problem's module computes, product by product."""
        return F.gelu(x @ w.t() + b) @ w2.t() + b2


def lerp(large: bool) -> Problem:
    return Problem(
        name="lerp",
        inputs=lambda g: tuple(normal(g, *_rows(large)) for _ in range(3)),
        reference=lerp_out,
        exact=lambda start, end, weight: start.double().lerp(end.double(), weight.double()),
    )


def lerp_out(start: Tensor, end: Tensor, weight: Tensor, out: Tensor) -> None:
    torch.lerp(start, end, weight, out=out)


def own_lerp_out(start: Tensor, end: Tensor, weight: Tensor, out: Tensor) -> None:
    torch.sub(end, start, out=out).mul_(weight).add_(start)


def ragged(large: bool) -> Problem:
    sizes, width = ((700, 0, 1300), 1024) if large else ((20, 0, 36), 40)

    def softmaxes(rows: Tensor, groups: tuple[int, ...]) -> list[Tensor]:
        return [torch.softmax(one, -1) for one in rows.split(groups)]

    return Problem(
        name="softmax of groups, one without rows",
        inputs=lambda g: (normal(g, sum(sizes), width), sizes),
        reference=softmaxes,
        exact=lambda rows, groups: softmaxes(rows.double(), groups),
    )


def own_ragged(rows: Tensor, groups: tuple[int, ...]) -> list[Tensor]:
    weights = (rows - rows.amax(-1, keepdim=True)).exp()
    return [one.clone() for one in (weights / weights.sum(-1, keepdim=True)).split(groups)]


def halves(large: bool) -> Problem:
    return Problem(
        name="halves and product of uint32",
        inputs=lambda g: (integers(g, 2**32, *_rows(large)).to(torch.uint32),),
        reference=halved,
        exact=halved,
    )


def halved(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    wide = x.to(torch.int64)
    low, high = wide & 0xFFFF, wide >> 16
    return low.to(torch.uint16), high.to(torch.uint16), (low * high).to(torch.uint32).to(torch.uint64)


def own_halved(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    parts = x.contiguous().view(torch.uint16).view(*x.shape, 2)
    low, high = (parts[..., place].to(torch.int64) for place in range(2))
    return parts[..., 0].clone(), parts[..., 1].clone(), (low * high).to(torch.uint64)


def sparse_gemm(large: bool) -> Problem:
    rows, width = _rows(large)

    def draw(g: torch.Generator) -> tuple[Tensor, Tensor]:
        return normal(g, rows, width).sub_(0.5).relu_().to_sparse(), normal(g, width, 64)

    return Problem(
        name="sparse gemm",
        inputs=draw,
        reference=lambda a, b: a @ b,
        exact=lambda a, b: a.to_dense().double() @ b.double(),
    )


def to_sparse(large: bool) -> Problem:
    return Problem(
        name="dense to sparse",
        inputs=lambda g: (normal(g, *_rows(large)),),
        reference=lambda x: x.relu().to_sparse(),
        exact=lambda x: x.double().relu().to_sparse(),
    )


def padded(large: bool) -> Problem:
    def draw(g: torch.Generator) -> tuple[Tensor, ...]:
        return (torch.nested.nested_tensor([normal(g, 4), normal(g, 3)], layout=torch.jagged),)

    return Problem(
        name="jagged to padded",
        inputs=draw,
        reference=lambda x: x.to_padded_tensor(0.0),
        exact=lambda x: x.to_padded_tensor(0.0).double(),
    )


def quantised(large: bool) -> Problem:
    return Problem(
        name="quantise per tensor",
        inputs=lambda g: (normal(g, *_rows(large)),),
        reference=lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
        exact=lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
    )


OPERATORS = (
    Operator("a module as the reference, another as the candidate", mlp, OwnMlp()),
    Operator("both write to an argument out", lerp, own_lerp_out),
    Operator("zero sizes: one output of three has no elements", ragged, own_ragged),
    Operator("uint32 in; uint16, uint16 and uint64 out", halves, own_halved),
    Operator("a sparse matrix among the inputs", sparse_gemm, lambda a, b: a.to_dense() @ b),
    Operator("a sparse output", to_sparse, lambda x: x.relu().to_sparse(), refused=True),
    Operator("a jagged input", padded, lambda x: x.to_padded_tensor(0.0), refused=True),
    Operator("an output of a quantised type", quantised, lambda x: x.clone(), refused=True),
)
