"""`fp8`: right on a grid of shapes, by the check that races have; groups, numbers of keys, log-sum-exps, strides."""

from __future__ import annotations

import itertools

import pytest
import torch
from parity import loaded

from pytest_kgate import Shape
from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
from pytest_kgate.errors import CandidateError
from pytest_kgate.problems.attention.eight_bits.dequantised import values_of
from pytest_kgate.problems.attention.eight_bits.parts import TOLERANCE
from pytest_kgate.problems.attention.exact import exact_attention
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.statistics.gates import ErrorGate

LENGTHS = (1, 2, 17, 63, 64, 65, 127, 128, 129, 512, 1000, 1024, 2048, 4096, 8192)

LSE_ERROR = 2.0**-10
"""Of the greatest logit: accumulators keep 13 bits of it, and hard draws have logits of 280. Products rounded so, in
steps of 32, are off by 0.17 at most in a simulation of such a draw at D = 64."""


def judged(kernel, shape, record=None, **more):
    """What is wrong with the answers to a normal and a hard draw, held to the reference's error as in a race."""
    problem = sdpa_problem(shape, "float8_e4m3fn")
    found = []
    for seed, draw in enumerate((problem.inputs, problem.hard_inputs)):
        inputs = draw(torch.Generator("cuda").manual_seed(seed))
        guarded = torch.full((inputs[0].numel() + 512,), float("nan"), dtype=torch.bfloat16, device="cuda")
        guarded[-512:] = 7.0
        out = guarded[:-512].view(inputs[0].shape)
        kernel(*inputs, **problem.params, out=out, **more)
        assert bool((guarded[-512:] == 7.0).all()), f"{shape}: wrote behind its output"
        exact, reference = (one(*inputs, **problem.params) for one in (problem.exact, problem.reference["flash"]))
        truth = ExactAnswer(exact, reference)
        said = truth.compare(out, truth.limits(ErrorGate(*TOLERANCE)))
        if record is not None:
            record(f"{shape} draw {seed}", f"{said.rms_error / truth.baseline:.2f} times the reference's rms error")
        if said.failed:
            found.append((seed, said.reason))
    return found


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("head_dim", [64, 128])
def test_fp8_is_right(head_dim, causal, record_property):
    kernel = loaded("fp8")
    sizes = itertools.cycle(((1, 8), (2, 3), (4, 16), (1, 1)))
    shapes = [Shape(*(next(sizes) if length < 4096 else (1, 4)), length, head_dim, causal) for length in LENGTHS]
    found = {str(shape): judged(kernel, shape, record_property) for shape in shapes}
    assert not {shape: said for shape, said in found.items() if said}


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize("head_dim", [64, 128])
def test_fp8_takes_groups_and_other_numbers_of_keys(head_dim):
    kernel = loaded("fp8")
    for heads, kv_heads, rows, keys in ((8, 2, 300, 300), (8, 1, 65, 1000), (4, 2, 1, 129), (2, 2, 128, 257)):
        for causal in (False, True):
            shape = Shape(2, heads, rows, head_dim, causal, kv_heads=kv_heads, kv_seqlen=keys)
            assert not judged(kernel, shape), shape
    assert not judged(kernel, Shape(1, 4, 300, head_dim, kv_seqlen=100))


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize("causal", [False, True])
def test_fp8_gives_the_log_sum_exp(causal):
    problem = sdpa_problem(Shape(2, 8, 300, 64, causal, kv_heads=2), "float8_e4m3fn")
    for draw in (problem.inputs, problem.hard_inputs):
        inputs = draw(torch.Generator("cuda").manual_seed(7))
        out, lse = loaded("fp8")(*inputs, **problem.params, return_lse=True)
        assert torch.equal(out, loaded("fp8")(*inputs, **problem.params))
        values = values_of(inputs, torch.float64)
        _, wanted = exact_attention(*values, is_causal=causal, return_lse=True)
        q, k, _ = values
        greatest = float((q @ k.repeat_interleave(4, 1).mT).abs().max()) * 64**-0.5
        assert float((lse.double() - wanted).abs().max()) <= LSE_ERROR * max(greatest, 1.0)


@pytest.mark.gpu(alone=False)
def test_fp8_takes_no_scales_one_for_all_heads_negative_scales_and_strides():
    kernel = loaded("fp8")
    problem = sdpa_problem(Shape(2, 3, 200, 64, True), "float8_e4m3fn")
    q, k, v, _, q_scale, k_scale, v_scale = problem.inputs(torch.Generator("cuda").manual_seed(4))
    one = torch.ones(3, device="cuda")
    small = 2.0**-12  # of logits of unscaled elements
    assert torch.equal(kernel(q, k, v, scale=small), kernel(q, k, v, None, one, one, one, scale=small))
    assert torch.equal(kernel(q, k, v, None, one[:1], one[:1], one[:1], scale=small), kernel(q, k, v, scale=small))
    plain = kernel(q, k, v, None, q_scale, k_scale, v_scale, is_causal=True)
    apart = [t.transpose(1, 2).contiguous().transpose(1, 2) for t in (q, k, v)]
    assert torch.equal(kernel(*apart, None, q_scale, k_scale, v_scale, is_causal=True), plain)
    values = values_of((q, k, v, None, q_scale, k_scale, v_scale), torch.float64)
    negative = kernel(q, k, v, None, q_scale, k_scale, v_scale, scale=-0.125).double()
    assert float((negative - exact_attention(*values, scale=-0.125)).abs().max()) <= 0.06


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize(
    "knobs",
    [
        *({"HEAD_DIM": head_dim, "BLOCK_N": keys} for head_dim, keys in itertools.product((64, 128), (128, 192))),
        *({"HEAD_DIM": 64, **knob} for knob in ({"STAGES": 2}, {"PERSISTENT": 0}, {"USE_FAST_EXP": 0})),
        *({"HEAD_DIM": head_dim, "PROMOTE_KEYS": 256} for head_dim in (64, 128)),
    ],
    ids=str,
)
def test_fp8_is_right_at_other_knobs(knobs):
    kernel = loaded("fp8", knobs)
    for length, causal in itertools.product((65, 1000, 2048), (False, True)):
        assert not judged(kernel, Shape(2, 8, length, knobs["HEAD_DIM"], causal))


@pytest.mark.gpu(alone=False)
def test_fp8_may_be_captured_at_its_first_call_and_gives_the_same_bits_every_time():
    kernel = loaded("fp8", {"USE_FAST_EXP": 0, "HEAD_DIM": 64})
    problem = sdpa_problem(Shape(1, 8, 1000, 64, True), "float8_e4m3fn")
    inputs = problem.hard_inputs(torch.Generator("cuda").manual_seed(3))
    out = torch.zeros(inputs[0].shape, dtype=torch.bfloat16, device="cuda")
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kernel(*inputs, **problem.params, out=out)
    for _ in range(10):
        out.zero_()
        graph.replay()
        assert torch.equal(out, kernel(*inputs, **problem.params))


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize(
    "shape",
    [Shape(2, 8, 2048, 128), Shape(2, 8, 2048, 128, True), Shape(2, 8, 1000, 64, True), Shape(1, 4, 300, 128)],
    ids=str,
)
def test_fp8_is_the_same_where_calls_follow_each_other_without_a_pause(shape):
    """V is transposed into a workspace that calls share, and the attention begins before that has ended."""
    kernel, calls = loaded("fp8"), 40
    problem = sdpa_problem(shape, "float8_e4m3fn")
    inputs = [problem.inputs(torch.Generator("cuda").manual_seed(seed)) for seed in (1, 2)]
    wanted = []
    for one in inputs:
        wanted.append(kernel(*one, **problem.params))
        torch.cuda.synchronize()
    answers = [torch.full_like(wanted[0], float("nan")) for _ in range(calls)]

    def call_all():
        for i, answer in enumerate(answers):
            kernel(*inputs[i % 2], **problem.params, out=answer)

    def wrong():
        torch.cuda.synchronize()
        return [i for i, answer in enumerate(answers) if not torch.equal(answer, wanted[i % 2])]

    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        call_all()
        assert not wrong()
        with torch.cuda.graph(graph, stream=stream):
            call_all()
        for _ in range(5):
            for answer in answers:
                answer.fill_(float("nan"))
            graph.replay()
            assert not wrong()


@pytest.mark.gpu(alone=False)
def test_fp8_refuses_other_elements_and_head_dimensions_in_words():
    kernel = loaded("fp8")
    q = torch.randn(1, 2, 64, 64, device="cuda")
    with pytest.raises(CandidateError, match="takes float8_e4m3fn tensors alone"):
        kernel(q.half(), q.half(), q.half())
    q = torch.randn(1, 2, 64, 96, device="cuda").to(torch.float8_e4m3fn)
    with pytest.raises(CandidateError, match="head_dim 96 is not supported"):
        kernel(q, q, q)
