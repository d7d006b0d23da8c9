"""Kernels on other streams than the one of the call, on a real GPU: where they are raced, and what is said."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.gpu

SESSION = """
import pytest
import torch
from pytest_kgate import Problem
from pytest_kgate.device.cuda import driver

pytestmark = pytest.mark.perf

def f(x):
    return torch.softmax(x, -1) + x

P = Problem(
    name="softmax and sum",
    inputs=lambda g: (torch.randn(1024, 1024, generator=g, device=g.device),),
    reference=f,
    exact=lambda x: f(x.double()),
)

class On:
    def __init__(self, name, make):
        self.name, self.make, self.stream = name, make, None

    def __call__(self, x):
        self.stream = self.stream or self.make()
        with torch.cuda.stream(self.stream):
            return f(x)

DEFAULT = On("default", torch.cuda.default_stream)
PLACES = [
    DEFAULT,
    On("thread", lambda: torch.cuda.ExternalStream(2)),  # cudaStreamPerThread
    On("blocking", lambda: torch.cuda.ExternalStream(int(driver.call("cuStreamCreate", 0)))),
    On("own", torch.cuda.Stream),
]

@pytest.mark.speedup(1.5)
@pytest.mark.parametrize("cache", ["hot", "cold"])
@pytest.mark.parametrize("candidate", PLACES, ids=lambda one: one.name)
def test_stream(kbench, candidate, cache):
    kbench(candidate, P, cache=cache)

@pytest.mark.speedup(1.5)
def test_half(kbench):
    def candidate(x):
        with torch.cuda.stream(torch.cuda.default_stream()):
            y = torch.softmax(x, -1)
        return y + x
    kbench(candidate, P)

@pytest.mark.speedup(1.5)
def test_reference(kbench):
    import dataclasses
    kbench(f, dataclasses.replace(P, reference=DEFAULT))

@pytest.mark.speedup(0.9)
def test_slower(kbench):
    def candidate(x):
        with torch.cuda.stream(torch.cuda.default_stream()):
            return f(f(x)) * 0 + f(x)
    kbench(candidate, P)
"""


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Of one session, by the test's name."""
    import os
    import subprocess
    import sys

    from pytest_kgate.report.record.document import load

    folder = tmp_path_factory.mktemp("streams")
    (folder / "test_streams.py").write_text(SESSION)
    arguments = ["-q", "-p", "no:cacheprovider", "--kgate-device=cuda", "--kgate-budget=5", "--kgate-json=records.json"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], cwd=folder, env=os.environ, capture_output=True, text=True
    )
    found = {record["test"].partition("::")[2]: record for record in load(folder / "records.json")}
    assert len(found) == 11, done.stdout
    return found


@pytest.mark.parametrize("cache", ["hot", "cold"])
@pytest.mark.parametrize("place", ["default", "thread", "blocking"])
def test_kernel_on_the_default_stream_is_timed_there(records, place, cache):
    record = next(one for name, one in records.items() if place in name and cache in name)
    assert record["verdict"] == "PASS", record["reason"]
    assert record["timing"]["timer"] == "queue"
    assert any("the candidate launched on CUDA's default stream" in warning for warning in record["warnings"])
    # The reference is launched as a graph of one call, which begins sooner.
    assert 0.8 < record["timing"]["ratio_of_medians"] < 1.5


@pytest.mark.parametrize("cache", ["hot", "cold"])
def test_kernel_on_a_stream_that_waits_for_none_is_invalid_and_told_so(records, cache):
    record = next(one for name, one in records.items() if "own" in name and cache in name)
    assert record["verdict"] == "INVALID"
    assert "which does not wait for the" in record["reason"]  # whichever look is the first to see it


def test_kernel_of_which_half_is_on_the_default_stream_is_told_of_its_streams(records):
    record = records["test_half"]
    assert record["verdict"] == "INVALID"
    assert "another stream" in record["reason"]


def test_reference_on_the_default_stream_does_not_look_as_if_it_took_no_time(records):
    record = records["test_reference"]
    assert record["verdict"] == "PASS", record["reason"]
    assert any("the reference launched on CUDA's default stream" in warning for warning in record["warnings"])
    assert 0.7 < record["timing"]["ratio_of_medians"] < 1.3


def test_slower_kernel_on_the_default_stream_fails_for_its_time(records):
    record = records["test_slower"]
    assert record["verdict"] == "FAIL", record["reason"]
    assert record["timing"]["ratio_of_medians"] > 1.5


CUPY = """
import cupy
import pytest
import torch
from pytest_kgate import Problem

@pytest.mark.speedup(3.0)
def test_cupy(kbench):
    relu = cupy.ElementwiseKernel("float32 x", "float32 y", "y = x > 0 ? x : 0.0f", "relu")
    problem = Problem(
        name="relu",
        inputs=lambda g: (torch.randn(1 << 20, generator=g, device=g.device),),
        reference=torch.relu,
        exact=lambda x: torch.relu(x.double()),
    )
"""


@pytest.mark.parametrize("view", ["cupy.asarray", "cupy.from_dlpack"])
def test_cupy_function_launches_on_the_default_stream_and_is_timed(pytester, view):
    """By DLPack its stream waits for PyTorch's, and by the other way no stream waits."""
    pytest.importorskip("cupy")
    from pytest_kgate.report.record.document import load

    pytester.makepyfile(CUPY + f"    kbench(lambda x: relu({view}(x)), problem)")
    pytester.runpytest_subprocess("--kgate-device=cuda", "--kgate-json=records.json")
    (record,) = load(pytester.path / "records.json")
    assert record["verdict"] == "PASS", record["reason"]
    assert any("default stream" in warning for warning in record["warnings"])


def test_cupy_function_that_takes_the_current_stream_is_timed_in_graphs(pytester):
    pytest.importorskip("cupy")
    from pytest_kgate.report.record.document import load

    pytester.makepyfile(
        CUPY
        + """
    def candidate(x, out):
        with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
            relu(cupy.asarray(x), cupy.asarray(out))

    kbench(candidate, problem)
"""
    )
    pytester.runpytest_subprocess("--kgate-device=cuda", "--kgate-json=records.json")
    (record,) = load(pytester.path / "records.json")
    assert (record["verdict"], record["timing"]["timer"]) == ("PASS", "graph"), record["reason"]
