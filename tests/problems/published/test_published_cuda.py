"""Published problems on a GPU: inputs and outputs are there, and what a call is handed can be captured in a graph."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Generator

from pytest_kgate import Problem
from pytest_kgate import evaluate

pytestmark = pytest.mark.gpu

RUN = "import torch\ndef run(x):\n    return (x.float() * 2).sin().to(x.dtype)\n"

TENSOR = {"shape": ["rows", "width"], "dtype": "float16"}

DEFINITION = {
    "name": "sine",
    "op_type": "sine",
    "axes": {"rows": {"type": "var"}, "width": {"type": "const", "value": 4096}},
    "inputs": {"x": TENSOR},
    "outputs": {"y": TENSOR},
    "reference": RUN,
}

REFERENCE = """
import torch
def generate_input(size, seed):
    gen = torch.Generator(device="cuda").manual_seed(seed)
    x = torch.randn(size, 4096, device="cuda", generator=gen)
    return x, torch.empty_like(x), torch.zeros(size, device="cuda")
def ref_kernel(data):
    x, out, sums = data
    sums += x.sum(1)
    out[...] = x.sin() + sums[:, None]
    return out
def check_implementation(data, output):
    return bool(torch.allclose(ref_kernel(data), output, atol=1e-3)), "differs"
"""


def into(x, y):
    y.copy_((x.float() * 2).sin())


def nothing(x, y):
    pass


@pytest.mark.parametrize(("function", "wrong"), [(into, False), (nothing, True)], ids=["handed-in", "writes-nothing"])
def test_outputs_are_handed_in_on_the_gpu(function, wrong):
    workload = {"uuid": "1", "axes": {"rows": 512}, "inputs": {}}
    problem = Problem.from_flashinfer_bench(DEFINITION, workload)
    found = evaluate(function, problem, speedup=100.0, device="cuda", budget=2)
    assert (found["verdict"] == "WRONG") is wrong
    assert found["problem"]["flashinfer_bench"]["exact"] == "float64"


def test_a_task_has_its_data_on_the_gpu(tmp_path):
    pytest.importorskip("yaml")
    (tmp_path / "reference.py").write_text(REFERENCE)
    files = [{"name": "reference.py", "source": "reference.py"}]
    (tmp_path / "task.yml").write_text(json.dumps({"files": files, "benchmarks": [{"size": 512, "seed": 1}]}))
    problem = Problem.from_task_folder(tmp_path)
    ((x, out, sums),) = problem.inputs(Generator(device="cuda").manual_seed(1))
    assert (x.device.type, out, sums) == ("cuda", None, None)

    def adds(data):
        x, out, sums = data
        return torch.add(x.sin(), sums.add_(x.sum(1))[:, None], out=out)

    found = evaluate(adds, problem, speedup=100.0, device="cuda", budget=2)
    assert found["verdict"] == "PASS"
    assert found["problem"]["task_folder"]["handed_in"] == 2
