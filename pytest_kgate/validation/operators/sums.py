"""Reductions, scans, and choices along a dimension: some answers are indices, some are right in several ways."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from pytest_kgate.problems import equal
from pytest_kgate.problems.problem import Problem
from pytest_kgate.validation.operators.operator import Operator
from pytest_kgate.validation.operators.operator import integers
from pytest_kgate.validation.operators.operator import normal

_MILLION = 1_000_000


def _rows(large: bool) -> tuple[int, int]:
    return (4096, 4096) if large else (37, 96)


def row_sums(large: bool) -> Problem:
    return Problem(
        name="sum of rows",
        inputs=lambda g: (normal(g, *_rows(large)),),
        reference=lambda x: x.sum(-1),
        exact=lambda x: x.double().sum(-1),
    )


def total(large: bool) -> Problem:
    return Problem(
        name="sum of all",
        inputs=lambda g: (normal(g, *_rows(large)),),
        reference=torch.sum,
        exact=lambda x: x.double().sum(),
    )


def var_mean(large: bool) -> Problem:
    return Problem(
        name="variance and mean",
        inputs=lambda g: (normal(g, *_rows(large)),),
        reference=lambda x: torch.var_mean(x, -1),
        exact=lambda x: torch.var_mean(x.double(), -1),
    )


def own_var_mean(x: Tensor) -> tuple[Tensor, Tensor]:
    mean = x.mean(-1)
    return (x - mean[:, None]).square().sum(-1) / (x.shape[-1] - 1), mean


def cumsum(large: bool) -> Problem:
    return Problem(
        name="cumsum of a million",
        inputs=lambda g: (normal(g, _MILLION if large else 20_000),),
        reference=lambda x: x.cumsum(0),
        exact=lambda x: x.double().cumsum(0),
    )


def own_cumsum(x: Tensor) -> Tensor:
    parts = F.pad(x, (0, -len(x) % 1000)).view(-1, 1000).cumsum(1)
    before = F.pad(parts[:-1, -1].cumsum(0), (1, 0))
    return (parts + before[:, None]).view(-1)[: len(x)].clone()


def cummax(large: bool) -> Problem:
    return Problem(
        name="cummax with indices",
        inputs=lambda g: (normal(g, *_rows(large)),),
        reference=lambda x: torch.cummax(x, -1),
        exact=lambda x: tuple(torch.cummax(x.double(), -1)),
    )


def argmax(large: bool) -> Problem:
    return Problem(
        name="argmax with ties",
        inputs=lambda g: (integers(g, 4, *_rows(large), dtype=torch.float16),),
        reference=lambda x: x.argmax(-1),
        exact=lambda x: x.double().argmax(-1),
        equal=equal.ties(),
    )


def topk(large: bool) -> Problem:
    return Problem(
        name="topk",
        inputs=lambda g: (normal(g, *_rows(large)), 8),
        reference=torch.topk,
        exact=lambda x, k: tuple(torch.topk(x.double(), k)),
        equal=equal.ties(),  # of eight million random numbers in float32, two of one row's largest may be equal
    )


def own_topk(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    values, places = x.sort(-1, descending=True)
    return values[:, :k].clone(), places[:, :k].clone()


def sort(large: bool) -> Problem:
    return Problem(
        name="sort with ties",
        inputs=lambda g: (integers(g, 50, *_rows(large), dtype=torch.float32),),
        reference=lambda x: torch.sort(x, -1),
        exact=lambda x: tuple(torch.sort(x.double(), -1)),
        equal=equal.ties(),
    )


def own_sort(x: Tensor) -> tuple[Tensor, Tensor]:
    places = x.shape[-1] - 1 - x.flip(-1).argsort(dim=-1, stable=True)  # of equals, the last first
    return x.gather(-1, places), places


def maxpool(large: bool) -> Problem:
    shape = (16, 64, 64, 64) if large else (2, 3, 12, 12)
    return Problem(
        name="maxpool with indices",
        inputs=lambda g: (normal(g, *shape),),
        reference=lambda x: F.max_pool2d(x, 2, return_indices=True),
        exact=lambda x: F.max_pool2d(x.double(), 2, return_indices=True),
    )


def own_maxpool(x: Tensor) -> tuple[Tensor, Tensor]:
    windows = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    values, places = windows.max(-1)
    rows = torch.arange(values.shape[2], device=x.device)[:, None] * 2 + places // 2
    columns = torch.arange(values.shape[3], device=x.device) * 2 + places % 2
    return values, rows * x.shape[3] + columns


def dropout(large: bool) -> Problem:
    return Problem(
        name="dropout",
        inputs=lambda g: (normal(g, *(_rows(large) if large else (128, 160))),),
        reference=lambda x: F.dropout(x, 0.3),
        exact=lambda x: x.double(),
        equal=equal.dropout(0.3),
    )


OPERATORS = (
    Operator("reduction", row_sums, lambda x: (x @ x.new_ones(x.shape[-1], 1)).squeeze(-1)),
    Operator("0-dimensional output", total, lambda x: x.sum(0).sum()),
    Operator("two outputs", var_mean, own_var_mean),
    Operator("scan of a vector", cumsum, own_cumsum),
    Operator("values and int64 indices", cummax, lambda x: tuple(torch.cummax(x, -1))),
    Operator("several right answers", argmax, lambda x: x.shape[-1] - 1 - x.flip(-1).argmax(-1)),
    Operator("values and int64 indices, a number among the inputs", topk, own_topk),
    Operator("several right answers, two outputs", sort, own_sort),
    Operator("values and int64 indices", maxpool, own_maxpool),
    Operator("random", dropout, lambda x: torch.where(torch.rand_like(x) < 0.3, 0, x / 0.7)),
)
