"""Every shipped kernel against the exact answer: tails, tiles, both masks, all dtypes and head dimensions."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate import Shape
from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.build.registry import implementations
from pytest_kgate.sdpa import exact_attention
from pytest_kgate.sdpa import sdpa_problem

TOLERANCE = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}
LENGTHS = (1, 17, 63, 64, 65, 127, 128, 512, 1000, 1024)
LONG = (2048, 4096, 8192)
READY = [entry for entry in implementations().values() if entry.status == "ready"]
CUDA = [entry.name for entry in READY if entry.device_kind == "cuda"]
HOST = [entry.name for entry in READY if entry.device_kind == "host"]


def worst_error(kernel, shape, dtype, device):
    """Max |kernel - exact| over a normal and a hard draw; NaN counts as infinite, and a guard zone must survive."""
    problem = sdpa_problem(shape, dtype)
    worst = 0.0
    for seed, draw in enumerate((problem.inputs, problem.hard_inputs)):
        generator = torch.Generator(device).manual_seed(seed)
        q, k, v = draw(generator)
        guarded = torch.full((q.numel() + 512,), float("nan"), dtype=q.dtype, device=device)
        guarded[q.numel() :] = 7.0
        out = guarded[: q.numel()].view(q.shape)
        kernel(q, k, v, is_causal=shape.causal, out=out)
        error = (out.double() - exact_attention(q, k, v, is_causal=shape.causal)).abs()
        worst = max(worst, float(error.nan_to_num(nan=float("inf")).max()))
        assert bool((guarded[q.numel() :] == 7.0).all()), f"{shape}: wrote behind its output"
    return worst


def all_errors(kernel, shapes, dtype, device):
    errors = {str(shape): worst_error(kernel, shape, dtype, device) for shape in shapes}
    return {shape: error for shape, error in errors.items() if not error <= TOLERANCE[dtype]}


def shapes_of(head_dim, lengths, batch=1, heads=2):
    return [Shape(batch, heads, length, head_dim, causal) for length in lengths for causal in (False, True)]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("head_dim", [1, 7, 64, 80, 96, 128])
@pytest.mark.parametrize("impl", HOST)
def test_host_kernel_is_right(impl, head_dim, dtype):
    kernel = load_kernel(impl)
    assert not all_errors(kernel, shapes_of(head_dim, (1, 17, 63, 64, 65, 128, 257)), dtype, "cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("head_dim", [64, 80, 96, 128])
@pytest.mark.parametrize("impl", CUDA)
def test_cuda_kernel_is_right(impl, head_dim, dtype):
    kernel = load_kernel(impl)
    assert not all_errors(kernel, shapes_of(head_dim, LENGTHS), dtype, "cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("impl", CUDA)
def test_cuda_kernel_is_right_on_long_sequences_and_many_heads(impl, dtype):
    kernel = load_kernel(impl)
    shapes = [*shapes_of(64, LONG, heads=4), *shapes_of(128, (1000,), batch=4, heads=8), *shapes_of(96, (65,), 8, 16)]
    assert not all_errors(kernel, shapes, dtype, "cuda")


def interleaved(shape, dtype, device, seed=0):
    """The same values as (batch, heads, seqlen, head_dim) views of (batch, seqlen, heads, head_dim) memory."""
    generator = torch.Generator(device).manual_seed(seed)
    return tuple(
        tensor.transpose(1, 2).contiguous().transpose(1, 2) for tensor in sdpa_problem(shape, dtype).inputs(generator)
    )


def check_strides(kernel, dtype, device):
    shape = Shape(2, 3, 65, 64, causal=True)
    q, k, v = interleaved(shape, dtype, device)
    assert not q.is_contiguous()
    error = (kernel(q, k, v, is_causal=True).double() - exact_attention(q, k, v, is_causal=True)).abs().max()
    assert float(error) <= TOLERANCE[dtype]


@pytest.mark.parametrize("impl", HOST)
def test_host_kernel_honours_strides(impl):
    check_strides(load_kernel(impl), "float32", "cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("impl", CUDA)
def test_cuda_kernel_honours_strides(impl):
    check_strides(load_kernel(impl), "float16", "cuda")


@pytest.mark.gpu
@pytest.mark.parametrize(
    "knobs", [{"STAGES": 1}, {"STAGES": 3}, {"BLOCK_N": 128}, {"BLOCK_M": 32, "BLOCK_N": 128}], ids=str
)
def test_wmma_is_right_at_other_knobs(knobs):
    kernel = load_kernel("wmma", {**knobs, "HEAD_DIM": 64})
    assert not all_errors(kernel, shapes_of(64, LENGTHS), "float16", "cuda")


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("impl", "knobs"),
    [
        ("mma", {"BLOCK_M": 128}),
        ("mma", {"BLOCK_M": 128, "BLOCK_N": 32, "STAGES": 3}),
        ("mma", {"BLOCK_M": 64, "SPLIT_KV": 1}),
        ("mma", {"BLOCK_M": 32, "BLOCK_N": 128, "NUM_WARPS": 8, "SPLIT_KV": 4}),
        ("mma", {"USE_FAST_EXP": 0}),
        ("latency", {"NUM_WARPS": 8, "BLOCK_N": 128}),
        ("latency", {"BLOCK_N": 32, "STAGES": 4}),
        ("latency", {"BLOCK_M": 32, "NUM_WARPS": 4, "SPLIT_KV": 1}),
    ],
    ids=str,
)
def test_mma_kernels_are_right_at_other_knobs(impl, knobs):
    kernel = load_kernel(impl, {**knobs, "HEAD_DIM": 64})
    assert not all_errors(kernel, shapes_of(64, LENGTHS), "float16", "cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("scale", [-0.2, 0.0, 1.0])
@pytest.mark.parametrize("impl", ["mma", "latency"])
def test_mma_kernels_take_any_scale(impl, scale):
    kernel = load_kernel(impl)
    q, k, v = sdpa_problem(Shape(1, 2, 200, 64)).inputs(torch.Generator("cuda").manual_seed(4))
    exact = exact_attention(q.double() * scale * 8, k, v, is_causal=True)  # 8: it divides by the root of head_dim
    assert float((kernel(q, k, v, is_causal=True, scale=scale).double() - exact).abs().max()) <= 2e-3


@pytest.mark.gpu
@pytest.mark.parametrize("impl", CUDA)
def test_cuda_kernel_gives_the_same_bits_every_time(impl):
    kernel = load_kernel(impl)
    q, k, v = sdpa_problem(Shape(1, 8, 1000, 64)).inputs(torch.Generator("cuda").manual_seed(3))
    first = kernel(q, k, v, is_causal=True)
    assert all(torch.equal(first, kernel(q, k, v, is_causal=True)) for _ in range(20))
