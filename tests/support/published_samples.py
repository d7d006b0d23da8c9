"""A definition of flashinfer-bench, a task folder of reference-kernels, and draws of the problems made of such."""

from __future__ import annotations

import copy

from torch import Generator

from pytest_kgate import Problem

RUN = """
import torch

@torch.no_grad()
def run(x, weight, scale):
    rows, width = x.shape
    assert width == 16
    y = x.to(torch.float32) * weight.to(torch.float32) * scale
    return y.to(x.dtype), torch.logsumexp(y, dim=-1)
"""

DEFINITION = {
    "name": "scaled_w16",
    "op_type": "scaled",
    "axes": {"rows": {"type": "var"}, "width": {"type": "const", "value": 16}},
    "constraints": ["rows % 2 == 0", "weight.shape[0] == width"],
    "inputs": {
        "x": {"shape": ["rows", "width"], "dtype": "bfloat16"},
        "weight": {"shape": ["width"], "dtype": "bfloat16"},
        "scale": {"shape": None, "dtype": "float32"},
    },
    "outputs": {
        "y": {"shape": ["rows", "width"], "dtype": "bfloat16"},
        "lse": {"shape": ["rows"], "dtype": "float32"},
    },
    "reference": RUN,
}

WORKLOAD = {
    "definition": "scaled_w16",
    "solution": None,
    "workload": {
        "uuid": "5ca1ab1e-0000",
        "axes": {"rows": 4},
        "inputs": {"x": {"type": "random"}, "weight": {"type": "random"}, "scale": {"type": "scalar", "value": 0.5}},
    },
    "evaluation": None,
}


def changed(document, **values):
    """A copy with other values, by their paths: `inputs__x__dtype`; those that are `...` are left out."""
    found = copy.deepcopy(document)
    for path, value in values.items():
        *folders, name = path.split("__")
        inner = found
        for folder in folders:
            inner = inner[folder]
        if value is ...:
            del inner[name]
        else:
            inner[name] = value
    return found


def problem(definition=DEFINITION, workload=WORKLOAD, **more) -> Problem:
    return Problem.from_flashinfer_bench(definition, workload, **more)


def drawn(found: Problem, seed: int = 1):
    return found.inputs(Generator().manual_seed(seed))


YML = """
files:
  - {"name": "submission.py", "source": "@SUBMISSION@"}
  - {"name": "task.py", "source": "task.py"}
  - {"name": "utils.py", "source": "../utils.py"}
  - {"name": "reference.py", "source": "reference.py"}
  - {"name": "eval.py", "source": "../eval.py"}
lang: "py"
description: |
  Twice the rows.
tests:
  - {"size": 8, "seed": 11}
  - {"size": 16, "seed": 12}
benchmarks:
  - {"size": 32, "seed": 13}
"""

UTILS = """
def verbose_allclose(received, expected, rtol=1e-05, atol=1e-08):
    near = (received - expected).abs() <= atol + rtol * expected.abs()
    return [] if bool(near.all()) else ["differs"]

def match_reference(data, output, reference, rtol=1e-05, atol=1e-08):
    reasons = verbose_allclose(output, reference(data), rtol=rtol, atol=atol)
    return not reasons, " ".join(reasons)

def make_match_reference(reference, **kwargs):
    def wrapped(data, output):
        return match_reference(data, output, reference=reference, **kwargs)
    return wrapped
"""

TASK = """
from typing import TypeVar
import torch
input_t = TypeVar("input_t", bound=tuple[torch.Tensor, torch.Tensor])
"""

REFERENCE = """
import torch
from task import input_t
from utils import make_match_reference

def ref_kernel(data: input_t):
    x, out = data
    out[...] = torch.sin(x) * 2
    return out

def generate_input(size: int, seed: int) -> input_t:
    gen = torch.Generator(device="cuda")
    gen.manual_seed(seed)
    x = torch.randn(size, size, device="cuda", generator=gen).contiguous()
    return x, torch.empty(size, size, device="cuda").contiguous()

check_implementation = make_match_reference(ref_kernel{tolerance})
"""

TWICE = REFERENCE.format(tolerance="")
