"""Isolated candidates on a GPU: memory by the driver's descriptors, rows as graphs, the verdict here."""

from __future__ import annotations

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)

import pytest_kgate.bench.call  # noqa: F401
from pytest_kgate.report.record.document import load
from pytest_kgate.validation.cheats.attempt import SLOWLY

pytestmark = pytest.mark.gpu

CANDIDATES = """
import os
import torch
import torch.nn.functional as F

calls = 0
answer = None

def honest(q, k, v, *, is_causal=False):
    return F.scaled_dot_product_attention(q, k, v, is_causal=is_causal)

def synchronises(q, k, v):
    q.sum().item()
    return F.scaled_dot_product_attention(q, k, v)

def exits(q, k, v):
    os._exit(0)

def zeros(q, k, v):
    return torch.zeros_like(q)

def skips(q, k, v, out):
    global calls
    calls += 1
    if calls <= 10 or calls % 4:
        out.copy_(F.scaled_dot_product_attention(q, k, v))

def faults(q, k, v, out):
    torch.zeros(1, device=q.device)[torch.tensor([2**40], device=q.device)]
"""

TESTS = """
import dataclasses
import pytest
from pytest_kgate import Shape

def problem_of(sdpa_oracle, shape=Shape(1, 8, 1024, 64)):
    problem = sdpa_oracle(shape, backend="flash")
    return dataclasses.replace(problem, reference=slowly(problem.reference["flash"]))

@pytest.mark.allclose(4e-3)
@pytest.mark.speedup(0.8)
@pytest.mark.parametrize("function", ["honest", "synchronises", "exits", "zeros", "skips", "faults"])
def test_python(kbench, sdpa_oracle, function):
    # To wait for the GPU in every call costs some 100 us, which must be little beside four calls of the reference.
    shape = Shape(1, 8, 4096, 64) if function == "synchronises" else Shape(1, 8, 1024, 64)
    kbench(f"generated.py:{function}", problem_of(sdpa_oracle, shape))

@pytest.mark.allclose(4e-3)
@pytest.mark.speedup(0.8)
def test_kernel(kbench, kernels, sdpa_oracle):
    kbench(kernels("wmma"), problem_of(sdpa_oracle))
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Outcome and record of each test, all run in one session under --kgate-isolate."""
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("isolated")
    (folder / "generated.py").write_text(CANDIDATES)
    (folder / "test_it.py").write_text(SLOWLY + TESTS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--kgate-isolate"]
    command += ["--kgate-device=cuda", "--kgate-json=records.json", "--kgate-budget=40"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert (folder / "records.json").exists(), run.stdout + run.stderr
    return {record["test"].partition("::")[2]: record for record in load(folder / "records.json")}


@pytest.mark.parametrize("test", ["test_python[honest]", "test_python[synchronises]", "test_kernel"])
def test_honest_candidate_passes(session, test):
    record = session[test]
    assert record["verdict"] == "PASS", record["reason"]
    assert record["isolation"]["verified"] >= 16
    by_timer = test == "test_kernel"
    assert record["isolation"]["launched_by"] == ("timer" if by_timer else "candidate")
    assert record["timing"]["timer"] == ("graph" if by_timer else "wall")
    uncaptured = any("can't be captured" in warning for warning in record["warnings"])
    assert uncaptured is ("synchronises" in test)


@pytest.mark.parametrize(
    ("function", "verdict", "reason"),
    [
        ("exits", "ERROR", "ended with status 0"),
        ("zeros", "WRONG", "max |candidate - exact|"),
        ("skips", "INVALID", "a timed launch left another answer"),
        ("faults", "ERROR", "assert"),
    ],
)
def test_candidate_that_does_not_deserve_it_does_not_pass(session, function, verdict, reason):
    record = session[f"test_python[{function}]"]
    assert record["verdict"] == verdict, record["reason"]
    assert reason in record["reason"]
