"""Inputs that no seed repeats, or that are not where the race is: a sentence about the problem, not the candidate."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate import Problem
from pytest_kgate.bench.correctness.problem_calls import demand_repeatable
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import UsageError


def demand(draw):
    demand_repeatable(Problem("relu", draw, torch.relu, torch.relu), HostDevice())


@pytest.mark.parametrize(
    "draw",
    [
        lambda g: (torch.randn(64, 64),),
        lambda g: (torch.randn(64, generator=g), torch.randn(())),
        lambda g: ([torch.randn(64, generator=g), torch.randn(64)],),
        lambda g: (torch.randn(64, generator=g), float(torch.randn(()))),
        lambda g: ({"x": torch.randn(8, dtype=torch.complex64)},),
    ],
    ids=["tensor", "one of two", "in a list", "a number", "complex"],
)
def test_inputs_that_are_not_drawn_from_the_generator_are_said_not_to_repeat(draw):
    with pytest.raises(UsageError, match="The inputs of relu do not repeat"):
        demand(draw)


def with_nan(g):
    x = torch.randn(64, 8, generator=g)
    x[40:] = float("nan")
    return x, x.t(), x[:, ::2], x[:1].expand(64, 8), 0.5, None, "tf32", torch.tensor(1.5), x[:0]


@pytest.mark.parametrize(
    "draw",
    [
        with_nan,
        lambda g: torch.randn(8, generator=g, requires_grad=True),
        lambda g: (torch.randn(8, generator=g).to(torch.float8_e4m3fn), torch.ones(8, dtype=torch.bool)),
        lambda g: (torch.view_as_complex(torch.randn(8, 2, generator=g)).conj(),),
        lambda g: (torch.randn(8, 8, generator=g).to_sparse(),),
        lambda g: (3,),
    ],
    ids=["nan and strides", "grad", "fp8", "conj", "sparse", "no tensor"],
)
def test_inputs_that_repeat_are_fine_whatever_they_are(draw):
    demand(draw)


def test_inputs_elsewhere_are_said_to_be_there():
    with pytest.raises(UsageError, match="are on meta, and the race is on cpu"):
        demand(lambda g: (torch.empty(8, device="meta"),))
