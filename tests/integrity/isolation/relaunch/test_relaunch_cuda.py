"""Isolated candidates on a GPU whose kernels the timer's process launches: figures as in process, what liars get."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pytest_kgate.report.record.document import load

pytestmark = pytest.mark.gpu

RUNGS = ("latency", "wmma", "mma", "custom_v3", "cublas", "hybrid_qkt", "hybrid_pv")

MEASURE = """
import dataclasses
import pytest
from pytest_kgate import Shape
from pytest_kgate.build.kernel import load_kernel

RUNGS = (LISTED)

@pytest.mark.allclose(4e-3)
@pytest.mark.parametrize("rung", RUNGS)
def test_rung(kbench, sdpa_oracle, kernels, rung):
    problem = dataclasses.replace(sdpa_oracle(Shape(1, 8, 512, 64)), reference=load_kernel(rung))
    kbench(kernels(rung), problem, precision=0.003)
""".replace("LISTED", ", ".join(map(repr, RUNGS)))

TRITON = """
import torch
import triton
import triton.language as tl

@triton.jit
def kernel(x, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at, mask=at < n)
    tl.store(out + at, value * value, mask=at < n)

def honest(x, out):
    kernel[(triton.cdiv(x.numel(), 1024),)](x, out, x.numel(), BLOCK=1024)

def with_temporary_memory(x, out):
    between = torch.empty_like(x)
    kernel[(triton.cdiv(x.numel(), 1024),)](x, between, x.numel(), BLOCK=1024)
    torch.mul(between, 1.0, out=out)

TABLE = []

def with_a_table(x, out):
    # Made in the first call and kept, as weights are; of 4 MiB, which no kernel has among its parameters.
    if not TABLE:
        TABLE.append(torch.ones_like(x))
    torch.mul(x, x, out=out)
    out.mul_(TABLE[0])

def of_a_library(x, out):
    torch.mul(x, x, out=out)

def says(change):
    # The candidate's process is the candidate's: it may say of its launches what it likes.
    from pytest_kgate.integrity.isolation.captured import capture

    true = capture.recorded
    if true.__name__ == "recorded":
        def told(*arguments):
            return [[change(launch) for launch in call][: None if change(call[0]) else 0] for call in true(*arguments)]
        capture.recorded = told

def liar(change):
    def function(x, out):
        says(change)
        honest(x, out)
    return function

other_grid = liar(lambda launch: {**launch, "grid": [1, 1, 1]})
no_launch = liar(lambda launch: None)
foreign_name = liar(lambda launch: {**launch, "name": "of_nobody"})
NOWHERE = (2**40).to_bytes(8, "little").hex()
bad_pointer = liar(lambda launch: {**launch, "parameters": [NOWHERE, *launch["parameters"][1:]]})
"""

HONEST = ("honest", "with_temporary_memory", "of_a_library")

ELSEWHERE = {
    "with_a_table": "launched by another process",
    "other_grid": "give another answer",
    "no_launch": "launches no kernel",
    "foreign_name": "no device code of the kernels",
    "bad_pointer": "its kernels fault",
}

TRITON_TESTS = """
import pytest
import torch
from pytest_kgate import Problem

N = 1 << 20

def four_times(x):
    for _ in range(4):
        answer = x * x
    return answer

SQUARE = Problem(
    name="square",
    inputs=lambda g: (torch.randn(N, generator=g, device=g.device),),
    reference=four_times,
    exact=lambda x: x.double() * x.double(),
)

@pytest.mark.allclose(1e-3)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_triton(kbench, function):
    kbench(f"generated.py:{function}", SQUARE, precision=0.05)
""".replace("FUNCTIONS", repr([*HONEST, *ELSEWHERE]))

SOURCE = """
#define kgate_sdpa honest
#include "kernels/latency.cu"
#undef kgate_sdpa

__global__ void spin(volatile int* flag) { while (*flag != 12345) { } }

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    cudaStream_t queue = static_cast<cudaStream_t>(stream);
    cudaStreamCaptureStatus status;
    cudaStreamIsCapturing(queue, &status);
    bool captured = status == cudaStreamCaptureStatusActive;
    (void)captured;
    BODY
    return honest(args, stream);
}
"""

BODIES = {
    "memset": "cudaMemsetAsync(args->o, 0, 16, queue);",
    "endless": "if (captured) spin<<<1, 1, 0, queue>>>(static_cast<volatile int*>(args->o));",
}

SOURCE_TESTS = """
import dataclasses
import pytest
from pytest_kgate import Shape
from pytest_kgate.build.kernel import load_kernel

@pytest.mark.allclose(4e-3)
@pytest.mark.parametrize("source", ["memset", "endless"])
def test_source(kbench, sdpa_oracle, kernels, source):
    problem = dataclasses.replace(sdpa_oracle(Shape(1, 8, 512, 64)), reference=load_kernel("wmma"))
    kbench(kernels(f"{source}.cu"), problem, precision=0.05)
"""


def _session(folder, tests, *options):
    """The records by test, of these tests in a session of their own."""
    (folder / "test_it.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *options]
    command += ["--kgate-device=cuda", "--kgate-json=records.json"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert (folder / "records.json").exists(), run.stdout + run.stderr
    return {record["test"].partition("::")[2]: record for record in load(folder / "records.json")}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Records in process, and isolated."""
    both = []
    for options in ((), ("--kgate-isolate",)):
        folder = tmp_path_factory.mktemp("measured")
        both.append(_session(folder, MEASURE, "--kgate-budget=4", *options))
    return both


@pytest.fixture(scope="module")
def triton(tmp_path_factory):
    pytest.importorskip("triton")
    folder = tmp_path_factory.mktemp("triton")
    (folder / "generated.py").write_text(TRITON)
    return _session(folder, TRITON_TESTS, "--kgate-isolate", "--kgate-budget=4")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    for name, body in BODIES.items():
        (folder / f"{name}.cu").write_text(SOURCE.replace("BODY", body))
    return _session(folder, SOURCE_TESTS, "--kgate-isolate", "--kgate-budget=10", "--kgate-timeout=20")


@pytest.mark.parametrize("rung", RUNGS)
def test_isolated_rung_reads_as_in_process(measured, rung):
    here, isolated = (records[f"test_rung[{rung}]"] for records in measured)
    assert isolated["isolation"]["launched_by"] == "timer", isolated["warnings"]
    latencies = [one["timing"]["candidate"]["median_seconds"] for one in (here, isolated)]
    assert latencies[1] / latencies[0] == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("rung", RUNGS)
def test_isolated_rung_against_itself_is_a_tie(measured, rung):
    timing = measured[1][f"test_rung[{rung}]"]["timing"]
    assert timing["ratio"]["estimate"] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("function", HONEST)
def test_kernels_of_triton_and_of_libraries_are_launched_by_the_timer(triton, function):
    record = triton[f"test_triton[{function}]"]
    assert record["verdict"] == "PASS", record["reason"]
    assert record["isolation"]["launched_by"] == "timer", record["warnings"]
    assert record["isolation"]["verified"] >= 16


@pytest.mark.parametrize("function", ELSEWHERE)
def test_what_keeps_a_table_and_who_lies_is_timed_in_its_own_process(triton, function):
    record = triton[f"test_triton[{function}]"]
    assert record["isolation"]["launched_by"] == "candidate"
    assert any(ELSEWHERE[function] in warning for warning in record["warnings"]), record["warnings"]


def test_call_with_a_memset_is_timed_in_its_own_process(sources):
    record = sources["test_source[memset]"]
    assert record["isolation"]["launched_by"] == "candidate"
    assert any("a node of the kind memset" in warning for warning in record["warnings"]), record["warnings"]


def test_kernel_that_does_not_end_is_killed(sources):
    record = sources["test_source[endless]"]
    assert record["verdict"] == "ERROR"
    assert "hung" in record["reason"]
