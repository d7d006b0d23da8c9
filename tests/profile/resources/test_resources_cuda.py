"""What a GPU's driver says of the kernels that calls launch, and limits held to it."""

from __future__ import annotations

import importlib.util
import textwrap
from pathlib import Path

import pytest
import torch
from sample_suite import RELU

from pytest_kgate import Problem
from pytest_kgate import Shape
from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.profile.resources.compiled import compiled
from pytest_kgate.profile.resources.launched import launched
from pytest_kgate.report.record.document import load

pytestmark = pytest.mark.gpu(alone=False)

HERE = Path(__file__).parent

RELU_PROBLEM = Problem(
    name="relu 64x64",
    inputs=lambda g: (torch.randn(64, 64, generator=g, device=g.device),),
    reference=torch.relu,
    exact=lambda x: torch.relu(x.double()),
)

TRITON = """
import torch
import triton
import triton.language as tl

@triton.jit
def clamp(x, y, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at, mask=at < n)
    tl.store(y + at, tl.maximum(value, 0.0), mask=at < n)

def relu(x):
    y = torch.empty_like(x)
    clamp[(triton.cdiv(x.numel(), 256),)](x, y, x.numel(), BLOCK=256)
    return y
"""

CUPY = """
import cupy
import torch

kernel = cupy.RawKernel(r'''
extern "C" __global__ void clamp(const float* x, float* y) {
    extern __shared__ float unused[];
    int at = blockIdx.x * blockDim.x + threadIdx.x;
    y[at] = x[at] > 0 ? x[at] : 0;
}''', "clamp")

def relu(x):
    y = torch.empty_like(x)
    with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
        kernel((16,), (256,), (cupy.from_dlpack(x), cupy.from_dlpack(y)), shared_mem=2048)
    return y
"""


@pytest.fixture(scope="module")
def device():
    from pytest_kgate.device.cuda.device import CudaDevice

    return CudaDevice(0)


def sdpa(*extents):
    return sdpa_problem(Shape(*extents), "float16", None, None, "o")


def test_compiler_and_driver_agree_on_kernels_that_are_compiled_here(device):
    kernel = load_kernel(HERE / "two_kernels.cu")
    by_name = {one.kernel: one for one in launched(device, kernel, sdpa(1, 8, 512, 64))}
    assert set(by_name) == {"mine::lean", "mine::greedy"}
    for one in kernel.build.resources:
        use = by_name[one.kernel]
        found = (use.registers, use.static_shared_bytes, use.dynamic_shared_bytes, use.local_bytes, use.spill_bytes)
        assert found == (one.registers, one.shared_bytes, 0, 0, 0)


def test_shared_memory_that_a_launch_asks_for_is_seen(device):
    (use,) = launched(device, load_kernel(HERE / "asks_for_shared.cu"), sdpa(1, 8, 512, 64))
    assert (use.kernel, use.static_shared_bytes, use.dynamic_shared_bytes) == ("turns", 0, 512)


@pytest.mark.parametrize("name", ["latency", "mma", "wmma"])
@pytest.mark.parametrize("extents", [(1, 8, 512, 64), (2, 8, 2048, 128)], ids=str)
def test_what_is_planned_without_a_gpu_is_what_a_gpu_launches(device, name, extents):
    kernel, problem = load_kernel(name), sdpa(*extents)
    planned = {(one.kernel, one.dynamic_shared_bytes, one.blocks_per_sm) for one in compiled(kernel, problem)}
    seen = {(one.kernel, one.dynamic_shared_bytes, one.blocks_per_sm) for one in launched(device, kernel, problem)}
    assert planned == seen


def candidate_of(source, tmp_path):
    (tmp_path / "mine.py").write_text(source)  # Triton reads it
    spec = importlib.util.spec_from_file_location("mine", tmp_path / "mine.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.relu


@pytest.mark.parametrize("which", ["triton", "cupy", "compiled", "eager", "library"])
def test_kernels_of_others_are_known_by_their_functions(device, tmp_path, which):
    problem = RELU_PROBLEM
    if which == "triton":
        pytest.importorskip("triton")
        candidate = candidate_of(TRITON, tmp_path)
    elif which == "cupy":
        pytest.importorskip("cupy")
        candidate = candidate_of(CUPY, tmp_path)
    elif which == "compiled":
        candidate = torch.compile(torch.relu)
    elif which == "eager":
        candidate = torch.relu
    else:
        problem, candidate = sdpa(1, 8, 512, 64), torch.nn.functional.scaled_dot_product_attention
    uses = launched(device, candidate, problem)
    assert isinstance(uses, list), uses
    assert uses
    for one in uses:
        assert 0 < one.registers <= 255
        assert one.blocks_per_sm >= 1
        assert one.spill_bytes == (None if one.local_bytes else 0)
    if which in ("triton", "cupy"):
        assert "clamp" in uses[0].kernel
    if which == "cupy":
        assert uses[0].dynamic_shared_bytes == 2048


def test_what_launches_nothing_is_told(device):
    said = launched(device, lambda x: x, RELU_PROBLEM)
    assert said == "it launches no kernel on the stream that it is called on"


def test_what_can_not_be_captured_is_told(device):
    said = launched(device, lambda x: x * float(x.sum().item() > 0), RELU_PROBLEM)
    assert said.startswith("it can't be captured in a CUDA graph (")


GATED = """
@pytest.mark.speedup(1e9)
@pytest.mark.resources(registers=MOST, spills=0, shared_kib=130, blocks_per_sm=1)
def test_plain(kbench):
    kbench(torch.relu, RELU, budget=0.5)

@pytest.mark.resources(registers=MOST, spills=0, shared_kib=130, blocks_per_sm=1)
def test_latency(kbench, sdpa_oracle, kernels):
    kbench(kernels("wmma"), sdpa_oracle(Shape(1, 8, 512, 64)), budget=0.5)
"""


@pytest.mark.parametrize(("most", "verdict"), [(255, "PASS"), (2, "FAIL")])
def test_limits_count_beside_gates(pytester, most, verdict):
    pytester.makepyfile(RELU + textwrap.dedent(GATED).replace("MOST", str(most)))
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--kgate-json=records.json")
    result.assert_outcomes(**{"passed" if verdict == "PASS" else "failed": 2})
    for record in load(pytester.path / "records.json"):
        assert record["verdict"] == verdict
        limits = {limit["name"]: limit for limit in record["limits"]}
        assert limits["registers"]["verdict"] == verdict
        assert {limit["verdict"] for name, limit in limits.items() if name != "registers"} == {"PASS"}
        assert limits["registers"]["kernel"]
        assert record["timing"] is not None
