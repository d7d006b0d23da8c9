"""The planted kernels as tests, for Nsight Compute to watch; a file of tests, named by hand."""

from __future__ import annotations

import pytest
import torch
from planted_kernels import PLANTED
from planted_kernels import Planted

from pytest_kgate import Problem


def problem_of(planted: Planted) -> Problem:
    """Three inputs of equal shape, as every kernel file takes them, of which a planted kernel reads the first."""

    def inputs(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        data = torch.randn(1, 1, planted.elements // 64, 64, generator=generator, device=generator.device)
        return data, data, data

    return Problem(
        name=planted.name,
        inputs=inputs,
        reference=lambda q, k, v: torch.neg(q),
        exact=lambda q, k, v: -q.double(),
        bytes=planted.needed_bytes,
    )


@pytest.mark.parametrize("planted", PLANTED, ids=[f"{one.folder}-{one.name}" for one in PLANTED])
def test_planted(kbench, kernels, planted):
    kbench(kernels(planted.path), problem_of(planted))
