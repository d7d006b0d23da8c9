"""The programs of docs/evaluate.md, as a reader would copy them, and what they are tried on."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "evaluate.md"

OPENEVOLVE = """
from dataclasses import dataclass, field

@dataclass
class EvaluationResult:
    metrics: dict
    artifacts: dict = field(default_factory=dict)
"""
"""What openevolve has in the module that an evaluator imports."""

JUDGE = """
import pytest
import torch
from pytest_kgate import Problem

RELU = Problem("relu", lambda g: (torch.randn(4096, generator=g),), torch.relu, lambda x: torch.relu(x.double()))

@pytest.mark.perf(budget=1)
@pytest.mark.speedup(1.5)
def test_it(kbench):
    kbench(torch.relu, RELU)
"""

_PROBLEM = """
import torch

class Model(torch.nn.Module):
    def forward(self, x):
        return {answer}

def get_inputs():
    return [torch.rand(64, 64)]

def get_init_inputs():
    return []
"""

ANSWERS = {
    "1_relu": "torch.relu(x + 0) * 1 + 0",
    "2_sum": "x.sum(dim=1)",
    "3_product": "(x @ x) * 1 + (x @ x) * 0",
    "4_softmax": "torch.softmax(x, dim=1)",
    "5_tanh": "torch.tanh(x)",
    "6_scale": "x * 3",
    "7_transpose": "x.t().contiguous()",
    "8_mean": "x.mean(dim=0)",
    "9_gelu": "torch.nn.functional.gelu(x)",
    "10_square": "x * x",
}
"""What the models of ten problems compute, in KernelBench's form."""

SOLVED = {
    **ANSWERS,
    "1_relu": "torch.relu(x)",
    "3_product": "x @ x",
    "2_sum": "x.mean(dim=1)",
    "4_softmax": "x.exp()",
    "5_tanh": "x.nothing()",
    "6_scale": "x *",
    "8_mean": "x.mean()",
    "9_gelu": "torch.relu(x)",
    "10_square": "x * 2",
}
"""What solutions of them compute: seven are wrong in one way or another, two do less work than the models."""


def program(name: str) -> str:
    """The one that the page calls by this name."""
    found = re.search(rf"<!-- file: {name} -->\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def write_problems(folder: Path) -> None:
    """Ten problems, and solutions of theirs."""
    for kind, answers in (("problems", ANSWERS), ("solutions", SOLVED)):
        (folder / kind).mkdir()
        for name, answer in answers.items():
            text = _PROBLEM.format(answer=answer)
            text = text.replace("Model(", "ModelNew(") if kind == "solutions" else text
            (folder / kind / f"{name}.py").write_text(text)
