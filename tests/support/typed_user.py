"""A user's typed test file, as type checkers see it; tests/test_public_types.py has it checked, and nobody runs it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pytest_kgate import GateFailure
from pytest_kgate import Kbench
from pytest_kgate import Kernels
from pytest_kgate import KgateError
from pytest_kgate import Problem
from pytest_kgate import Record
from pytest_kgate import SdpaOracle
from pytest_kgate import Shape
from pytest_kgate import evaluate
from pytest_kgate import shapes

RELU = Problem(
    name="relu 64x64",
    inputs=lambda g: (torch.randn(64, 64, generator=g, device=g.device),),
    reference=torch.relu,
    exact=lambda x: torch.relu(x.double()),
)


def mine(x: torch.Tensor) -> torch.Tensor:
    return x.clamp(min=0)


@pytest.mark.perf(budget=1.0)
@pytest.mark.speedup(1.1)
def test_mine(kbench: Kbench) -> None:
    record: Record = kbench(mine, RELU, name="mine", timer="wall", processes=3)
    assert record["verdict"] == "PASS"


def test_attention(kbench: Kbench, sdpa_oracle: SdpaOracle, kernels: Kernels) -> None:
    problem: Problem = sdpa_oracle(Shape(1, 8, 512, 64, causal=True), dtype="float16", backend="flash")
    kbench(kernels("wmma", BLOCK_M=64), problem)
    kbench("mine.py:attention", problem, allclose=2e-3, speedup=0.9)


@pytest.mark.search(micro={"STAGES": [2, 3]}, where=["STAGES <= 3"])
def test_knobs(kbench: Kbench, sdpa_oracle: SdpaOracle, kernels: Kernels, knobs: dict[str, Any]) -> None:
    kbench(kernels("wmma", **knobs), sdpa_oracle(Shape(1, 8, 512, 64)))


@pytest.mark.parametrize("dtype", shapes.DTYPES)
@pytest.mark.parametrize(
    "shape", [*shapes.canonical(), *shapes.load("grid.toml"), *(s for s in shapes.all() if s.causal)]
)
def test_grid(kbench: Kbench, sdpa_oracle: SdpaOracle, kernels: Kernels, shape: Shape, dtype: str) -> None:
    kbench(kernels("wmma"), sdpa_oracle(shape, dtype))


def test_several(kbench: Kbench) -> None:
    for size in (1, 2):
        record: Record = kbench.soft(mine, RELU, name=f"mine {size}", speedup=1.1)
        assert record["test"]


def test_wrong(kbench: Kbench) -> None:
    with pytest.raises(GateFailure) as caught:
        kbench(torch.neg, RELU, allclose=1e-3)
    assert caught.value.record["reason"]


def without_pytest() -> bool:
    record = evaluate(mine, RELU, 1.1, allclose=1e-6, device="host", budget=1.0, seed=7, say=print)
    return record.passed or record["verdict"] == "INCONCLUSIVE"


def what_to_do(error: KgateError) -> str:
    return error.todo
