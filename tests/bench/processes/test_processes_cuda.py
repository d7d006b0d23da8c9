"""Several processes on a GPU, one after the other: the lease passes from the parent to each of them."""

from __future__ import annotations

import math

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)

from pytest_kgate.report.record.document import load

pytestmark = pytest.mark.gpu

TESTS = """
import pytest
import torch
from pytest_kgate import Problem

RELU = Problem(
    name="relu 4096x1024",
    inputs=lambda g: (torch.randn(4096, 1024, generator=g, device=g.device),),
    reference={"relu": torch.relu, "where": lambda x: torch.where(x > 0, x, torch.zeros_like(x))},
    exact=lambda x: torch.relu(x.double()),
)

@pytest.mark.speedup(1.5)
@pytest.mark.speedup(1.5, quantile=0.9)
def test_same(kbench):
    kbench(torch.relu, RELU)
"""


def test_gates_on_a_gpu_are_judged_over_processes(pytester):
    pytester.makepyfile(TESTS)
    arguments = ["--kgate-device=cuda", "--kgate-processes=3", "--kgate-json=records.json"]
    pytester.runpytest_subprocess(*arguments).assert_outcomes(passed=1)
    (record,) = load(pytester.path / "records.json")
    assert record["reference"]["backend"] == "relu"
    assert record["timing"]["timer"] == "graph"
    assert [one["rounds"] for one in record["timing"]["processes"]] == [96, 96, 96]
    for gate in record["gates"]:
        assert all(ratio == pytest.approx(1.0, abs=0.1) for ratio in gate["processes"]["ratios"])


ISOLATED = """
import pytest
from pytest_kgate import Shape

@pytest.mark.allclose(4e-3)
@pytest.mark.speedup(1.5)
@pytest.mark.parametrize("source", ["latency", "mine.cu"])
def test_isolated(kbench, kernels, sdpa_oracle, source):
    kbench(kernels(source), sdpa_oracle(Shape(1, 8, 512, 64)))
"""


def test_isolated_kernels_are_judged_over_processes_and_their_shared_offset_widens_the_interval(pytester):
    """`latency` is a shipped one; the same as a file of the user's is compiled in confinement."""
    pytester.makepyfile(ISOLATED)
    (pytester.path / "mine.cu").write_text('#include "kernels/latency.cu"\n')
    options = ["--kgate-isolate", "--kgate-device=cuda", "--kgate-processes=3", "--kgate-budget=3"]
    pytester.runpytest_subprocess(*options, "--kgate-json=records.json").assert_outcomes(passed=2)
    for record in load(pytester.path / "records.json"):
        assert record["isolation"]["launched_by"] == "timer"
        assert record["timing"]["offset_sd"] == pytest.approx(0.005)
        assert len(record["timing"]["processes"]) == 3
        (gate,) = record["gates"]
        half = math.log(gate["ratio"]["high"] / gate["ratio"]["estimate"])
        assert half > 4.3 * 0.005  # t of two degrees of freedom
