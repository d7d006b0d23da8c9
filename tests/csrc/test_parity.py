"""Every shipped kernel against the exact answer: tails, tiles, both masks, all dtypes and head dimensions.

A sample of the grid; the whole of it is in test_whole_grid.py.
"""

from __future__ import annotations

import pytest
import torch
from parity import CUDA
from parity import HALVES
from parity import HEAD_DIMS
from parity import HOST
from parity import LENGTHS
from parity import LONG
from parity import TOLERANCE
from parity import loaded
from parity import shapes_of
from parity import wrong_shapes

from pytest_kgate import Shape
from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.errors import CandidateError
from pytest_kgate.problems.attention.exact import exact_attention
from pytest_kgate.problems.attention.problem import sdpa_problem


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("head_dim", [1, 7, 64, 80, 96, 128])
@pytest.mark.parametrize("impl", HOST)
def test_host_kernel_is_right(impl, head_dim, dtype):
    kernel = load_kernel(impl)
    assert not wrong_shapes(kernel, shapes_of(head_dim, (1, 17, 63, 64, 65, 128, 257)), dtype, "cpu")


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("head_dim", HEAD_DIMS)
@pytest.mark.parametrize("impl", CUDA)
def test_cuda_kernel_is_right(impl, head_dim, dtype):
    kernel = loaded(impl)
    # Five sizes, an odd number: a size that meets the causal problem of one length meets the other of the next.
    shapes = shapes_of(head_dim, LENGTHS, sizes=((1, 8), (4, 8), (1, 16), (8, 16), (1, 3)))
    assert not wrong_shapes(kernel, shapes, dtype, "cuda")


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("head_dim", HEAD_DIMS)
@pytest.mark.parametrize("impl", CUDA)
def test_cuda_kernel_is_right_on_long_sequences(impl, head_dim, dtype):
    kernel = loaded(impl)
    assert not wrong_shapes(kernel, shapes_of(head_dim, LONG, sizes=((1, 8), (1, 16), (2, 8))), dtype, "cuda")


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("impl", CUDA)
def test_cuda_kernel_errs_at_most_twice_as_much_as_pytorch(impl, dtype):
    kernel = loaded(impl)
    for shape in [
        *shapes_of(64, (512,), sizes=((1, 8),)),
        *shapes_of(128, (1000,), sizes=((1, 4),)),
        *shapes_of(64, (4096,)),
    ]:
        problem = sdpa_problem(shape, dtype, "flash")
        sdpa = problem.reference["flash"]
        for draw in (problem.inputs, problem.hard_inputs):
            q, k, v = draw(torch.Generator("cuda").manual_seed(5))
            exact = exact_attention(q, k, v, is_causal=shape.causal)
            mine = (kernel(q, k, v, is_causal=shape.causal).double() - exact).abs().max()
            theirs = (sdpa(q, k, v, is_causal=shape.causal).double() - exact).abs().max()
            assert float(mine) <= 2 * float(theirs), shape


def interleaved(shape, dtype, device, seed=0):
    """The same values as (batch, heads, seqlen, head_dim) views of (batch, seqlen, heads, head_dim) memory."""
    generator = torch.Generator(device).manual_seed(seed)
    return tuple(
        tensor.transpose(1, 2).contiguous().transpose(1, 2) for tensor in sdpa_problem(shape, dtype).inputs(generator)
    )


def check_strides(kernel, dtype, device):
    for shape in (Shape(2, 3, 65, 64, causal=True), Shape(5, 2, 65, 64)):
        q, k, v = interleaved(shape, dtype, device)
        assert not q.is_contiguous()
        exact = exact_attention(q, k, v, is_causal=shape.causal)
        error = (kernel(q, k, v, is_causal=shape.causal).double() - exact).abs().max()
        assert float(error) <= TOLERANCE[dtype]


@pytest.mark.parametrize("impl", HOST)
def test_host_kernel_honours_strides(impl):
    check_strides(load_kernel(impl), "float32", "cpu")


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize("impl", CUDA)
def test_cuda_kernel_honours_strides(impl):
    check_strides(loaded(impl), "float16", "cuda")


WMMA_KNOBS = [
    {"STAGES": 1},
    {"STAGES": 3},
    {"NUM_PRODUCER_WARPS": 1},
    {"NUM_PRODUCER_WARPS": 4, "STAGES": 3},
    {"NUM_PRODUCER_WARPS": 1, "STAGES": 1},
    {"BLOCK_N": 128},
    {"BLOCK_M": 64, "BLOCK_N": 32, "NUM_WARPS": 4},
]


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize("knobs", WMMA_KNOBS, ids=lambda knobs: "-".join(f"{k}={v}" for k, v in knobs.items()))
def test_wmma_is_right_at_other_knobs(knobs):
    kernel = load_kernel("wmma", {**knobs, "HEAD_DIM": 64})
    # The first size has few rows, the second many: a build without a tile of its own takes another tile for each.
    assert not wrong_shapes(kernel, shapes_of(64, LENGTHS, sizes=((1, 2), (8, 16), (1, 2))), "float16", "cuda")


SMALL_BOXES = {"WORKSPACE_MIB": 1, "CAUSAL_ROWS": 100}


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize(
    ("impl", "knobs"),
    [
        ("cublas", SMALL_BOXES),
        ("cutensor", SMALL_BOXES),
        ("hybrid_qkt", {**SMALL_BOXES, "BLOCK_M": 64, "BLOCK_N": 64, "NUM_WARPS": 4, "STAGES": 3, "HEAD_DIM": 64}),
        ("hybrid_pv", {**SMALL_BOXES, "BLOCK_M": 64, "BLOCK_N": 64, "NUM_WARPS": 4, "STAGES": 3, "HEAD_DIM": 64}),
        ("hybrid_qkt", {"BLOCK_M": 16, "BLOCK_N": 128, "NUM_WARPS": 4, "USE_FAST_EXP": 0, "HEAD_DIM": 64}),
        ("hybrid_pv", {"BLOCK_M": 16, "BLOCK_N": 128, "NUM_WARPS": 4, "USE_FAST_EXP": 0, "HEAD_DIM": 64}),
    ],
    ids=str,
)
def test_the_result_does_not_depend_on_how_the_problem_is_cut_up(impl, knobs):
    kernel = loaded(impl, knobs)
    shapes = [*shapes_of(64, (65, 257, 1000), sizes=((3, 5),)), *shapes_of(64, (2048,))]
    assert not wrong_shapes(kernel, shapes, "float16", "cuda")


ALGORITHMS = [*(("cublas", n) for n in (1, 2, 3, 5, 64)), ("hybrid_qkt", 2), *(("cutensor", n) for n in (1, 2, 3, 4))]


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize(("impl", "algorithm"), ALGORITHMS, ids=str)
def test_an_algorithm_of_a_library_is_right_or_refused_in_words(impl, algorithm):
    kernel = loaded(impl, {"ALGORITHM": algorithm})
    refused = []
    for shape in shapes_of(64, (65, 512, 1000), sizes=((3, 5),)):
        try:
            assert not wrong_shapes(kernel, [shape], "float16", "cuda")
        except CandidateError as error:
            refused.append(str(error))
    assert all("ALGORITHM" in text for text in refused)
    if algorithm <= 2 and impl != "cutensor":
        assert refused == []  # two at least are listed for each product


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize("impl", CUDA)
def test_the_first_call_of_a_kernel_may_be_captured(impl):
    kernel = loaded(impl, {"USE_FAST_EXP": 0})  # a build of its own: no earlier call has set it up
    q, k, v = sdpa_problem(Shape(2, 3, 300, 64)).inputs(torch.Generator("cuda").manual_seed(3))
    out = torch.zeros_like(q)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kernel(q, k, v, out=out)
    graph.replay()
    error = (out.double() - exact_attention(q, k, v)).abs().max()
    assert float(error) <= TOLERANCE["float16"]


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize(
    ("impl", "knobs"),
    [
        ("mma", {"BLOCK_M": 128}),
        ("mma", {"BLOCK_M": 128, "BLOCK_N": 32, "STAGES": 4}),
        ("mma", {"BLOCK_M": 128, "BLOCK_N": 32, "STAGES": 3}),
        ("mma", {"BLOCK_M": 64, "SPLIT_KV": 1}),
        ("mma", {"BLOCK_M": 32, "BLOCK_N": 128, "NUM_WARPS": 8, "SPLIT_KV": 4}),
        ("mma", {"USE_FAST_EXP": 0}),
        ("latency", {"WGMMA": 0}),
        ("latency", {"WGMMA": 0, "NUM_WARPS": 8, "BLOCK_N": 128}),
        ("latency", {"WGMMA": 0, "BLOCK_N": 32, "STAGES": 4}),
        ("latency", {"WGMMA": 0, "BLOCK_M": 32, "NUM_WARPS": 4, "SPLIT_KV": 1}),
        ("latency", {"BLOCK_N": 32, "STAGES": 4}),
        ("latency", {"BLOCK_N": 64, "STAGES": 4, "SPLIT_KV": 4}),
        ("latency", {"SPLIT_KV": 1}),
        ("latency", {"SPLIT_KV": 8, "USE_FAST_EXP": 0}),
    ],
    ids=str,
)
def test_mma_kernels_are_right_at_other_knobs(impl, knobs):
    kernel = load_kernel(impl, {**knobs, "HEAD_DIM": 64})
    assert not wrong_shapes(kernel, shapes_of(64, LENGTHS), "float16", "cuda")


@pytest.mark.gpu(alone=False)
def test_latency_takes_heads_that_share_their_keys():
    kernel = load_kernel("latency")
    q, k, v = sdpa_problem(Shape(2, 8, 300, 64)).inputs(torch.Generator("cuda").manual_seed(6))
    k, v = k[:, :1].expand_as(q), v[:, :1].expand_as(q)  # a stride of zero
    assert float((kernel(q, k, v).double() - exact_attention(q, k, v)).abs().max()) <= TOLERANCE["float16"]


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize("scale", [-0.2, 0.0, 1.0])
@pytest.mark.parametrize("impl", ["mma", "latency"])
def test_mma_kernels_take_any_scale(impl, scale):
    kernel = load_kernel(impl)
    q, k, v = sdpa_problem(Shape(1, 2, 200, 64)).inputs(torch.Generator("cuda").manual_seed(4))
    exact = exact_attention(q.double() * scale * 8, k, v, is_causal=True)  # 8: it divides by the root of head_dim
    assert float((kernel(q, k, v, is_causal=True, scale=scale).double() - exact).abs().max()) <= 2e-3


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize("impl", CUDA)
def test_cuda_kernel_gives_the_same_bits_every_time(impl):
    kernel = loaded(impl)
    q, k, v = sdpa_problem(Shape(1, 8, 1000, 64)).inputs(torch.Generator("cuda").manual_seed(3))
    first = kernel(q, k, v, is_causal=True)
    assert all(torch.equal(first, kernel(q, k, v, is_causal=True)) for _ in range(20))
