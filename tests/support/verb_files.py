"""The files that verbs of `kgate` are tried on: records, a history, a search, tests, and published problems."""

from __future__ import annotations

import json
from pathlib import Path

from histories import point
from sample_records import session
from user_session import BEFORE

from pytest_kgate.report.record.file import RecordFile
from pytest_kgate.search.journal.journal import Head
from pytest_kgate.search.journal.journal import Journal
from pytest_kgate.search.journal.scope import Scope

PROBLEM = """
import torch

class Model(torch.nn.Module):
    def forward(self, x):
        return torch.relu(x)

def get_inputs():
    return [torch.rand(16, 16)]

def get_init_inputs():
    return []
"""

RELU = """
import torch

def run(x):
    return torch.relu(x)

def generate_input(size, seed):
    return torch.randn(size, size, device="cuda", generator=torch.Generator("cuda").manual_seed(seed))

ref_kernel = run

def check_implementation(data, output):
    return bool(torch.equal(output, ref_kernel(data))), "differs"
"""

TENSOR = {"shape": ["n"], "dtype": "float32"}

DEFINITION = {
    "name": "relu",
    "op_type": "relu",
    "axes": {"n": {"type": "var"}},
    "inputs": {"x": TENSOR},
    "outputs": {"y": TENSOR},
    "reference": RELU,
}

WORKLOAD = {"definition": "relu", "workload": {"uuid": "5ca1ab1e", "axes": {"n": 16}, "inputs": {}}}

TASK = 'files: [{"name": "reference.py", "source": "reference.py"}]\ntests: [{"size": 16, "seed": 1}]\n'


def write_files(folder: Path) -> None:
    """One of each kind; answers of the candidates in wrong.py are wrong."""
    file = RecordFile(folder / "records.json")
    for record in session():
        file.append(record)
    file.close()
    (folder / "history.jsonl").write_text(point(0, noise=0.0).line())
    (folder / "test_it.py").write_text(BEFORE)
    (folder / "mine.py").write_text("")
    asked = {"argument": "test_it.py::test_nothing", "pytest": [], "time_limit": 60.0}
    Journal.open(folder / "search.jsonl", Head("test_it.py::test_nothing", "grid", 1, {}, asked), Scope()).close()
    (folder / "policy.toml").write_text("[gates]\nat_least = 99\n")
    (folder / "problem.py").write_text(PROBLEM)
    (folder / "wrong.py").write_text(PROBLEM.replace("Model(", "ModelNew(").replace("torch.relu(x)", "x * 1"))
    (folder / "wrong.py").open("a").write("def relu(x):\n    return x * 1\n")
    (folder / "definition.json").write_text(json.dumps(DEFINITION))
    (folder / "workloads.jsonl").write_text(json.dumps(WORKLOAD))
    (folder / "task").mkdir()
    (folder / "task" / "reference.py").write_text(RELU)
    (folder / "task" / "task.yml").write_text(TASK)
