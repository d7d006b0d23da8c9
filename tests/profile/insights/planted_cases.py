"""The planted kernels as tests, for Nsight Compute to watch; a file of tests, named by hand."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from planted_kernels import PLANTED
from planted_kernels import Planted

from pytest_kgate import Problem


@functools.cache
def inputs_of(elements: int) -> Callable[[torch.Generator], tuple[torch.Tensor, ...]]:
    """Three inputs of equal shape, as every kernel file takes them, of which a planted kernel reads the first.

    Those of equal size are one function, so that their reference is counted once.
    """

    def inputs(generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        data = torch.randn(1, 1, elements // 64, 64, generator=generator, device=generator.device)
        return data, data, data

    return inputs


def negative(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.neg(q)


def problem_of(planted: Planted) -> Problem:
    return Problem(
        name=planted.name,
        inputs=inputs_of(planted.elements),
        reference=negative,
        exact=lambda q, k, v: -q.double(),
        bytes=planted.needed_bytes,
    )


@pytest.mark.parametrize("planted", PLANTED, ids=[f"{one.folder}-{one.name}" for one in PLANTED])
def test_planted(kbench, kernels, planted):
    kbench(kernels(planted.path), problem_of(planted))
