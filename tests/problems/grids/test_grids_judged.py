"""Every shape of the grids can be judged: PyTorch's own attention is found right on each, and raced."""

from __future__ import annotations

import math

import pytest
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from pytest_kgate import shapes
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.statistics.gates import Verdict

EVERY = list(dict.fromkeys([*shapes.canonical(), *shapes.acceptance(), *shapes.stress()]))

SMALL = [shape for shape in EVERY if math.prod(shape.key_extents) * shape.seqlen <= 2_000_000]
"""Those of little work, which a host has in a moment."""


def attention(query: Tensor, key: Tensor, value: Tensor, is_causal: bool) -> Tensor:
    grouped = query.shape[1] != key.shape[1]
    return F.scaled_dot_product_attention(query, key, value, is_causal=is_causal, enable_gqa=grouped)


@pytest.mark.parametrize("shape", SMALL)
def test_pytorchs_attention_is_right_on_small_shapes_of_the_grids(shape, one_thread):
    problem = sdpa_problem(shape, "float32", backend="math")
    (reference,) = problem.reference.values()
    arms = bind("candidate", attention, problem.params), bind("reference", reference, problem.params)
    outcome = check(HostDevice(), problem, *arms, None, 42)
    assert (outcome.verdict, outcome.weak) == (Verdict.PASS, ())


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", shapes.DTYPES)
@pytest.mark.parametrize("shape", EVERY)
def test_pytorchs_attention_is_judged_on_every_shape_of_the_grids(kbench, sdpa_oracle, shape, dtype):
    record = kbench(attention, sdpa_oracle(shape, dtype), budget=2.0, speedup=3.0, precision=0.05)
    assert record["verdict"] == "PASS"
