"""The host kernel beyond plain attention: grouped heads, numbers of keys, windows, softcaps, biases, log-sum-exps."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from parity import TOLERANCE
from parity import draw

from pytest_kgate import Shape
from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.attention.exact import exact_attention
from pytest_kgate.problems.attention.problem import sdpa_problem

SHAPES = [
    (1, 4, 4, 65, 65, 16),
    (2, 6, 3, 65, 65, 16),
    (2, 4, 1, 130, 64, 7),  # more queries than keys: under the causal mask the first rows have no key
    (1, 2, 2, 70, 200, 16),
    (2, 4, 2, 1, 129, 64),  # decoding
    (1, 2, 1, 64, 1, 16),
]
EXTRAS = [
    {},
    {"window": 1},
    {"window": 16},
    {"window": 100, "softcap": 2.0},
    {"softcap": 30.0, "scale": -0.3},
    {"scale": 0.0},
]


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [*((shape, "float32") for shape in SHAPES), (SHAPES[1], "float16"), (SHAPES[3], "bfloat16")],
    ids=lambda value: value if isinstance(value, str) else "x".join(map(str, value)),
)
def test_host_kernel_computes_all_of_it(shape, dtype):
    kernel = load_kernel("host")
    q, k, v = draw(shape, dtype)
    batch, heads, _, rows, keys, _ = shape
    generator = torch.Generator().manual_seed(1)
    full = (batch, heads, rows, keys)
    biases = itertools.cycle([None, (1, 1, rows, keys), (1, heads, rows, keys), full, (batch, 1, 1, keys)])
    for causal, extra in itertools.product((False, True), EXTRAS):
        extents = next(biases)
        bias = None if extents is None else torch.randn(extents, generator=generator).to(q.dtype)
        problem = {"is_causal": causal, **extra}
        out, lse = kernel(q, k, v, bias, **problem, return_lse=True)
        wanted, wanted_lse = exact_attention(q, k, v, bias, **problem, return_lse=True)
        assert float((out.double() - wanted).abs().max()) <= TOLERANCE[dtype], problem
        assert torch.allclose(lse.double(), wanted_lse, rtol=0, atol=1e-5), problem  # equal where both are -inf
        assert torch.equal(kernel(q, k, v, bias, **problem), out), "whatever else is asked for"


@pytest.mark.parametrize(
    "shape",
    [
        Shape(1, 4, 40, 16, kv_heads=2),
        Shape(1, 2, 1, 16, kv_seqlen=70),
        Shape(1, 2, 40, 16, causal=True, window=7, softcap=9.0),
        Shape(2, 2, 40, 16, scale=0.2, bias="heads"),
    ],
    ids=str,
)
def test_host_kernel_is_a_candidate_for_problems_of_all_of_it(shape):
    problem = sdpa_problem(shape, "float32", outputs="o+lse")
    inputs = problem.inputs(torch.Generator().manual_seed(2))
    out, lse = load_kernel("host")(*inputs, **problem.params)
    wanted, wanted_lse = exact_attention(*inputs, **problem.params)
    assert float((out - wanted).abs().max()) <= 1e-5
    assert float((lse - wanted_lse).abs().max()) <= 1e-5


def test_rows_without_a_key_are_zeros_and_their_sum_is_nothing():
    kernel = load_kernel("host")
    out, lse = kernel(*draw((1, 2, 2, 9, 4, 8)), is_causal=True, return_lse=True)
    assert out[:, :, :5].eq(0).all()
    assert lse[:, :, :5].eq(-math.inf).all()
    assert out[:, :, 5:].ne(0).all()
    assert lse[:, :, 5:].isfinite().all()


def test_causal_queries_are_the_last_ones():
    kernel = load_kernel("host")
    q, k, v = draw((1, 2, 2, 40, 40, 16))
    whole = kernel(q, k, v, is_causal=True)
    assert float((kernel(q[:, :, 33:], k, v, is_causal=True) - whole[:, :, 33:]).abs().max()) <= 1e-6


def test_host_kernel_honours_the_strides_of_all_tensors():
    kernel = load_kernel("host")
    q, k, v = (t.transpose(1, 2).contiguous().transpose(1, 2) for t in draw((2, 4, 2, 33, 50, 16)))
    bias = torch.linspace(-3, 3, 2 * 4 * 33 * 128).view(2, 4, 33, 128)[..., 7:57]
    out = (
        torch.full((2, 33, 4, 16), math.nan).transpose(1, 2),
        torch.full((2, 33, 4, 3), math.nan)[..., 1].transpose(1, 2),
    )
    assert kernel(q, k, v, bias, softcap=3.0, return_lse=True, out=out)[0] is out[0]
    wanted, wanted_lse = exact_attention(q, k, v, bias, softcap=3.0, return_lse=True)
    assert float((out[0] - wanted).abs().max()) <= 1e-5
    assert float((out[1] - wanted_lse).abs().max()) <= 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": torch.zeros(1, 3, 8, 16), "v": torch.zeros(1, 3, 8, 16)}, "q has 4 heads, k and v have 3"),
        ({"k": torch.zeros(1, 8, 8, 16), "v": torch.zeros(1, 8, 8, 16)}, "q has 4 heads, k and v have 8"),
        ({"v": torch.zeros(1, 4, 9, 16)}, r"v.shape is \(1, 4, 9, 16\), but k.shape is \(1, 4, 8, 16\)"),
        ({"k": torch.zeros(1, 4, 8, 15)}, r"k.shape is \(1, 4, 8, 15\), but q.shape"),
        ({"k": torch.zeros(1, 4, 0, 16), "v": torch.zeros(1, 4, 0, 16)}, "the inputs are empty"),
        ({"k": torch.zeros(1, 0, 8, 16), "v": torch.zeros(1, 0, 8, 16)}, "the inputs are empty"),
        ({"window": 0}, "window is 0"),
        ({"window": 2.5}, "window is 2.5"),
        ({"window": True}, "window is True"),
        ({"softcap": 0.0}, "softcap is 0.0"),
        ({"softcap": 1e-50}, r"softcap is 1e-50"),
        ({"softcap": math.nan}, "softcap is nan"),
        ({"bias": torch.zeros(8, 8)}, r"bias is a torch.float32 tensor of shape \(8, 8\)"),
        (
            {"bias": torch.zeros(1, 1, 8, 9)},
            r"bias is .* shape \(1, 1, 8, 9\) on cpu.\nIt is .* of shape \(1, 4, 8, 8\)",
        ),
        ({"bias": torch.zeros(1, 1, 8, 8, dtype=torch.bool)}, "bias is a torch.bool tensor"),
        ({"bias": torch.zeros(1, 1, 8, 8).transpose(2, 3)}, "last dimension of bias is not contiguous"),
        ({"bias": 1.0}, "bias is of type float"),
        (
            {"return_lse": True, "out": torch.zeros(1, 4, 8, 16)},
            r"out is of type Tensor.\nWith return_lse, pass a pair",
        ),
        (
            {"return_lse": True, "out": (torch.zeros(1, 4, 8, 16), torch.zeros(1, 4, 8).half())},
            "second part of out is a",
        ),
    ],
)
def test_wrong_arguments_are_named(change, message):
    q, k, v = draw((1, 4, 4, 8, 8, 16))
    with pytest.raises(UsageError, match=message):
        load_kernel("host")(**({"q": q, "k": k, "v": v} | change))


def test_a_window_wider_than_any_sequence_is_none():
    kernel = load_kernel("host")
    q, k, v = draw((1, 2, 2, 40, 40, 16))
    for window in (40, np.int64(40), 2**31, 2**70):
        assert torch.equal(kernel(q, k, v, window=window), kernel(q, k, v))


def test_outputs_that_lie_over_each_other_are_refused():
    q, k, v = draw((1, 2, 2, 8, 8, 16))
    out = torch.zeros(1, 2, 8, 16)
    bias = torch.zeros(1, 2, 8, 8)
    for over in (out, q, bias):
        lse = over.flatten()[:16].view(1, 2, 8)
        with pytest.raises(UsageError, match="out overlaps the memory of"):
            load_kernel("host")(q, k, v, bias, return_lse=True, out=(out, lse))
    with pytest.raises(UsageError, match="rows of out overlap each other"):
        load_kernel("host")(q, k, v, return_lse=True, out=(out, torch.zeros(1, 1, 8).expand(1, 2, 8)))
