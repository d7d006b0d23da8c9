"""A wrong answer is found, an honest one is not accused: on the host, against the exact answer in float64."""

from __future__ import annotations

import functools
import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pytest_kgate import Problem
from pytest_kgate import Shape
from pytest_kgate.bench.correctness.check import Verification
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.attention.exact import exact_attention
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import Verdict

SMALL = Shape(2, 3, 65, 32)
CAUSAL = Shape(2, 3, 65, 32, causal=True)
RELU = Problem(
    name="relu",
    inputs=lambda g: (torch.randn(64, 64, generator=g, device=g.device),),
    reference=torch.relu,
    exact=lambda x: torch.relu(x.double()),
)


def outcome(candidate, problem=None, gate=None, seed=42):
    problem = problem or sdpa_problem(SMALL, "float32", backend="math")
    reference = problem.reference["math"] if isinstance(problem.reference, dict) else problem.reference
    return check(
        HostDevice(),
        problem,
        bind("candidate", candidate, problem.params),
        bind("reference", reference, problem.params),
        gate,
        seed,
    )


def attention(query, key, value, is_causal, scale=None):
    return F.scaled_dot_product_attention(query, key, value, is_causal=is_causal, scale=scale)


def no_mask(query, key, value):
    return F.scaled_dot_product_attention(query, key, value)


def zeros(query, key, value):
    return torch.zeros_like(query)


def mean_of_values(query, key, value):
    return value.mean(dim=2, keepdim=True).expand_as(value).contiguous()


def wrong_scale(query, key, value, is_causal):
    return attention(query, key, value, is_causal, scale=1 / query.shape[3])


def last_row_missing(query, key, value, is_causal, out):
    out[:, :, :-1] = attention(query, key, value, is_causal)[:, :, :-1]


def one_key_dropped(query, key, value):
    return F.scaled_dot_product_attention(query, key[:, :, :-1], value[:, :, :-1])


def half_precision(query, key, value, is_causal):
    return attention(query.bfloat16(), key.bfloat16(), value.bfloat16(), is_causal).to(query.dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", [Shape(1, 1, 1, 16), SMALL, CAUSAL], ids=str)
def test_honest_kernel_passes_without_a_tolerance_given(shape, dtype):
    def other_order(query, key, value, is_causal):
        scores = query.float() @ key.float().transpose(2, 3) / math.sqrt(query.shape[3])
        if is_causal:
            scores += torch.full(scores.shape[2:], -math.inf).triu(1)
        return (scores.softmax(3) @ value.float()).to(query.dtype)

    result = outcome(other_order, sdpa_problem(shape, dtype, backend="math"))
    assert result.verdict is Verdict.PASS, result


@pytest.mark.parametrize("gate", [None, ErrorGate(2e-3)], ids=["default", "2e-3"])
@pytest.mark.parametrize(
    ("mutant", "shape"),
    [
        (zeros, SMALL),
        (mean_of_values, SMALL),
        (no_mask, CAUSAL),
        (wrong_scale, SMALL),
        (wrong_scale, CAUSAL),
        (last_row_missing, SMALL),
        (one_key_dropped, SMALL),
        (half_precision, SMALL),
    ],
)
def test_mutant_dies(mutant, shape, gate):
    result = outcome(mutant, sdpa_problem(shape, "float32", backend="math"), gate)
    assert result.verdict is Verdict.FAIL
    assert result.worst is not None


def test_all_zeros_die_on_a_long_problem_whose_output_is_small():
    long = sdpa_problem(Shape(1, 1, 4096, 16), "float32", backend="math")
    result = outcome(zeros, long, ErrorGate(2e-3))
    assert result.verdict is Verdict.FAIL
    assert min(draw.output_rms for draw in result.draws) < 0.03


def test_draws_are_normal_and_hard_and_all_different():
    result = outcome(attention)
    assert [draw.kind for draw in result.draws].count("hard") >= 2
    assert len({draw.seed for draw in result.draws}) == len(result.draws) >= 5


def test_seed_decides_the_draws():
    errors = [[draw.candidate_error for draw in outcome(attention, seed=seed).draws] for seed in (1, 1, 2)]
    assert errors[0] == errors[1] != errors[2]


def test_worst_element_is_named():
    def off_by_one_element(x):
        y = torch.relu(x)
        y[3, 5] += 1.0
        return y

    result = outcome(off_by_one_element, RELU, ErrorGate(1e-3))
    assert result.worst is not None
    assert result.worst["index"] == [3, 5]
    assert result.worst["candidate"] == pytest.approx(result.worst["exact"] + 1.0)
    assert result.worst["wrong_fraction"] == pytest.approx(1 / 4096)


def test_relative_tolerance_counts():
    only_tolerance = functools.partial(ErrorGate, 1e-6, factor=math.inf)
    assert outcome(lambda x: torch.relu(x) * 1.01, RELU, only_tolerance(rtol=0.02)).verdict is Verdict.PASS
    assert outcome(lambda x: torch.relu(x) * 1.01, RELU, only_tolerance(rtol=0.005)).verdict is Verdict.FAIL


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_not_a_number_is_never_within_tolerance(value):
    def broken(x):
        y = torch.relu(x)
        y[0, 0] = value
        return y

    result = outcome(broken, RELU, ErrorGate(1e6))
    assert result.verdict is Verdict.FAIL
    assert "NaN or Inf" in result.reason
    assert result.to_dict()["candidate_error"] is None


def test_out_is_handed_over_poisoned_every_time():
    seen = []

    def writes_nothing(x, out):
        seen.append(bool(out.isnan().all()))

    assert outcome(writes_nothing, RELU, ErrorGate(1.0)).verdict is Verdict.FAIL
    assert seen == [True] * 6  # of five draws, and of the first that was wrong once more


def test_reference_error_stands_beside_the_candidates():
    result = outcome(attention, sdpa_problem(SMALL, "float16", backend="math"))
    assert 0 < result.reference_error < 2e-3
    assert result.candidate_error == pytest.approx(result.reference_error, rel=1.0)


def changes_input(x):
    x.mul_(2)
    return torch.relu(x / 2)


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        (changes_input, "changed its input 0"),
        (lambda x: None, "returned nothing"),
        (lambda x: 3.0, "returned a float, not a tensor"),
        (lambda x: torch.relu(x)[:, :5], r"shape \(64, 5\), but the problem asks for \(64, 64\)"),
        (lambda x: torch.relu(x).half(), "dtype torch.float16, but the problem asks for torch.float32"),
        (lambda x: torch.relu(x).to("meta"), "device meta, but the problem asks for cpu"),
        (lambda x: x.relu_(), "shares memory with its input 0"),
        (lambda x: 1 / 0, r"raised ZeroDivisionError: division by zero\."),
        (lambda x, y: x, "raised TypeError"),
    ],
)
def test_unusable_answer_is_said_in_one_sentence(candidate, message):
    with pytest.raises(CandidateError, match=message) as caught:
        outcome(candidate, RELU, ErrorGate(1.0))
    assert caught.value.todo


def test_numpy_answer_is_taken_through_dlpack():
    assert outcome(lambda x: torch.relu(x).numpy(), RELU, ErrorGate(1e-6)).verdict is Verdict.PASS


def test_exact_attention_agrees_with_torch_in_float64_also_in_chunks(monkeypatch):
    monkeypatch.setattr("pytest_kgate.problems.attention.exact._CHUNK_BYTES", 8 * 65 * 7)
    generator = torch.Generator().manual_seed(7)
    q, k, v = (torch.randn(2, 3, 65, 32, generator=generator, dtype=torch.float64) for _ in range(3))
    for causal in (False, True):
        expected = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        torch.testing.assert_close(exact_attention(q, k, v, is_causal=causal), expected, atol=1e-12, rtol=0)


def test_params_reach_only_those_who_name_them():
    def takes_all(query, key, value, **keywords):
        return keywords

    problem = sdpa_problem(CAUSAL)
    assert bind("candidate", takes_all, problem.params).call((1, 2, 3), None) == {"is_causal": True}
    assert bind("candidate", lambda q, k, v: "none", problem.params).call((1, 2, 3), None) == "none"
    assert bind("candidate", F.scaled_dot_product_attention, problem.params).takes_output is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((1, 8, 512, 64),), "takes a Shape"),
        ((SMALL, "float8"), "no dtype 'float8'"),
        ((SMALL, "float16", "fastests"), "no SDPA backend 'fastests'"),
    ],
)
def test_impossible_problem_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        sdpa_problem(*arguments)


@pytest.mark.parametrize("extents", [(0, 8, 512, 64), (1, 8, 5.0, 64), (1, True, 512, 64)])
def test_impossible_shape_is_refused(extents):
    with pytest.raises(ValueError, match="positive integer"):
        Shape(*extents)


def test_timed_launch_in_a_coarser_type_is_told_by_its_error():
    result = outcome(torch.relu, RELU, ErrorGate(1.0))
    inputs = RELU.inputs(torch.Generator().manual_seed(5))
    right = torch.relu(*inputs)
    assert Verification(HostDevice(), RELU, result)(inputs, right) is None
    coarse = Verification(HostDevice(), RELU, result)(inputs, right.bfloat16().float())
    assert coarse is not None
    assert coarse.startswith("the rms error is ")
    wrong = Verification(HostDevice(), RELU, result)(inputs, right + 2)
    assert wrong is not None
    assert wrong.startswith("off by 2 at")
