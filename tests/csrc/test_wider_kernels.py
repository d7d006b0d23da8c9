"""Kernels that compute more than plain attention themselves: `hopper`, and `decode`, of few queries and many keys."""

from __future__ import annotations

import itertools

import pytest
import torch
from parity import HALVES
from parity import TOLERANCE
from parity import WIDER
from parity import draw
from parity import loaded

from pytest_kgate import Shape
from pytest_kgate.problems.attention.exact import exact_attention
from pytest_kgate.problems.attention.problem import sdpa_problem

LSE_ERROR = 1e-3
"""Of natural logarithms, float32 from products of 16 bits."""


def wrong(kernel, shape, dtype):
    """What is too far off of a normal and a hard draw: the answer with and without its log-sum-exp."""
    problem = sdpa_problem(shape, dtype)
    found = []
    for seed, inputs in enumerate((problem.inputs, problem.hard_inputs)):
        q, k, v = inputs(torch.Generator("cuda").manual_seed(seed))
        wanted, wanted_lse = exact_attention(q, k, v, is_causal=shape.causal, return_lse=True)
        alone = kernel(q, k, v, is_causal=shape.causal)
        out, lse = kernel(q, k, v, is_causal=shape.causal, return_lse=True)
        errors = [float((one.double() - wanted).abs().nan_to_num(nan=1e9).max()) for one in (alone, out)]
        of_lse = ((lse.double() - wanted_lse).abs() / (1 + wanted_lse.abs() / 10)).nan_to_num(nan=0.0)  # -inf - -inf
        if max(errors) > TOLERANCE[dtype] or float(of_lse.max()) > LSE_ERROR:
            found.append((seed, errors, float(of_lse.max())))
        if not torch.equal(lse.isinf(), wanted_lse.isinf()):
            found.append((seed, "rows without a key"))
    return found


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("head_dim", [64, 80, 96, 128])
@pytest.mark.parametrize("impl", WIDER)
def test_kernel_takes_groups_other_numbers_of_keys_and_gives_the_log_sum_exp(impl, head_dim, dtype):
    kernel = loaded(impl)
    extents = [(8, 8, 300, 300), (8, 2, 300, 300), (8, 1, 65, 1000), (4, 2, 1, 129), (2, 2, 500, 130), (4, 1, 128, 257)]
    found = {}
    for (heads, kv_heads, rows, keys), causal in itertools.product(extents, (False, True)):
        shape = Shape(2, heads, rows, head_dim, causal, kv_heads=kv_heads, kv_seqlen=keys)
        found[str(shape)] = wrong(kernel, shape, dtype)
    assert not {shape: said for shape, said in found.items() if said}


KEYS = (1, 17, 511, 512, 8191, 65536)
GROUPS = (1, 4, 8)
QUERIES = (1, 2, 5, 16)


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("head_dim", [64, 128])
def test_decode_is_right_for_few_queries_and_any_number_of_keys(head_dim, group):
    kernel = loaded("decode")
    found = {}
    for keys, rows in itertools.product(KEYS, QUERIES):
        for batch, kv_heads in ((1, 2), (3, 1)) if keys < 65536 else ((1, 2),):
            for causal in (False, True):  # bottom-right: the last query sees the last key
                shape = Shape(batch, kv_heads * group, rows, head_dim, causal, kv_heads=kv_heads, kv_seqlen=keys)
                found[str(shape)] = wrong(kernel, shape, "float16")
    assert not {shape: said for shape, said in found.items() if said}


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize(
    ("impl", "knobs"),
    [
        *(("decode", {"SPLIT_KV": split}) for split in (1, 2, 8, 16)),
        ("decode", {"BLOCK_N": 32, "NUM_WARPS": 4, "STAGES": 2}),
        *(("decode", {"COPY": copy}) for copy in (0, 1)),
        ("decode", {"COPY": 1, "BLOCK_N": 64, "NUM_WARPS": 2}),
        ("decode", {"INTERLEAVE": 0}),
        ("hopper", {"BLOCK_M": 192}),
        ("hopper", {"BLOCK_M": 128, "BLOCK_N": 64, "STAGES": 2}),
        ("hopper", {"PERSISTENT": 0, "SECTION_MB": 1}),
        ("hopper", {"PERSISTENT": 1, "SECTION_MB": 1}),
        ("hopper", {"PING_PONG": 0}),
        ("hopper", {"LAZY_RESCALE": 0}),
    ],
    ids=str,
)
def test_kernel_is_right_at_other_knobs(impl, knobs):
    head_dim = 128 if impl == "decode" else 64  # two panels a row
    kernel = loaded(impl, {**knobs, "HEAD_DIM": head_dim})
    rows = 5 if impl == "decode" else 300
    for keys, causal in itertools.product((130, 1000, 8191), (False, True)):
        assert not wrong(kernel, Shape(1, 8, rows, head_dim, causal, kv_heads=2, kv_seqlen=keys), "float16")


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize("impl", WIDER)
@pytest.mark.parametrize("scale", [-0.2, 0.0, 1.0])
def test_kernel_takes_any_scale(impl, scale):
    q, k, v = draw((1, 4, 2, 5, 700, 64), "float16", "cuda")
    wanted = exact_attention(q, k, v, is_causal=True, scale=scale)
    error = (loaded(impl)(q, k, v, is_causal=True, scale=scale).double() - wanted).abs().max()
    assert float(error) <= TOLERANCE["float16"]
