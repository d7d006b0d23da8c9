"""Every mutant dies, and no honest kernel does: attention over a part of its grid, and operators of other kinds."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pytest_kgate import Problem
from pytest_kgate import Shape
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.selftest import LIVED
from pytest_kgate.bench.correctness.selftest import SAME
from pytest_kgate.bench.correctness.selftest import selftest
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import CandidateError
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import Verdict

pytestmark = pytest.mark.usefixtures("one_thread")

TOLERANCE = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}
GRID = [
    Shape(batch, heads, seqlen, head_dim, causal)
    for batch, heads, seqlen, head_dim in (
        (1, 8, 1, 64),
        (4, 2, 17, 80),
        (1, 3, 63, 96),
        (2, 2, 64, 128),
        (1, 3, 65, 64),
        (1, 2, 127, 80),
        (1, 2, 128, 96),
        (1, 1, 512, 64),
    )
    for causal in (False, True)
]


def reference_of(problem):
    return problem.reference["math"] if isinstance(problem.reference, dict) else problem.reference


def fates(problem, gate=None, seed=42):
    arm = bind("reference", reference_of(problem), problem.params)
    return selftest(HostDevice(), problem, arm, gate, seed)


def outcome(candidate, problem, gate=None):
    arms = bind("candidate", candidate, problem.params), bind("reference", reference_of(problem), problem.params)
    return check(HostDevice(), problem, *arms, gate, 42)


def tiled_attention(query, key, value, is_causal, *, prescaled=False):
    """As kernels on tensor cores do it: tiles of 64 keys, a running maximum, weights rounded to the inputs' type."""
    scale = 1 / math.sqrt(query.shape[3])
    if prescaled:
        query, scale = query * scale, 1.0
    sums, weight, top = torch.zeros(query.shape), torch.zeros(()), torch.full((*query.shape[:3], 1), -math.inf)
    rows = torch.arange(query.shape[2])[:, None]
    for first in range(0, key.shape[2], 64):
        tile = slice(first, first + 64)
        logits = query.float() @ key[:, :, tile].float().transpose(2, 3) * scale
        if is_causal:
            logits.masked_fill_(torch.arange(key.shape[2])[tile] > rows, -math.inf)
        now = torch.maximum(top, logits.amax(-1, keepdim=True))
        part, shrink = (logits - now).exp(), (top - now).exp()
        sums = sums * shrink + part.to(value.dtype).float() @ value[:, :, tile].float()
        weight, top = weight * shrink + part.sum(-1, keepdim=True), now
    return (sums / weight).to(value.dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("shape", GRID, ids=str)
def test_every_mutant_of_attention_dies_and_the_reference_does_not(shape, dtype):
    problem = sdpa_problem(shape, dtype, backend="math")
    for gate in (None, ErrorGate(TOLERANCE[dtype])):
        result = fates(problem, gate)
        assert result.lived == ()
        assert result.honest == ""
        assert result.killed >= 15


@pytest.mark.parametrize("seed", [1, 2])
def test_every_mutant_of_attention_in_float32_dies(seed):
    problem = sdpa_problem(Shape(1, 3, 130, 24, causal=True), "float32", backend="math")
    result = fates(problem, ErrorGate(TOLERANCE["float32"]), seed)
    assert (result.lived, result.honest) == ((), "")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("shape", GRID, ids=str)
def test_honest_kernel_of_another_order_passes(shape, dtype):
    result = outcome(tiled_attention, sdpa_problem(shape, dtype, backend="math"))
    assert result.verdict is Verdict.PASS, result.reason
    assert result.weak == ()
    rounding = torch.finfo(getattr(torch, dtype)).eps / 4
    for draw in result.draws:
        assert draw.candidate_rms_error <= 2 * max(draw.reference_rms_error, rounding * draw.output_rms)
        assert draw.row_excess <= 0.6


def test_kernel_that_rounds_its_scaled_queries_passes():
    def prescaled(query, key, value, is_causal):
        return tiled_attention(query, key, value, is_causal, prescaled=True)

    for dtype in ("float16", "bfloat16"):
        assert outcome(prescaled, sdpa_problem(Shape(1, 3, 130, 80), dtype, backend="math")).verdict is Verdict.PASS


def test_tolerance_alone_lets_mutants_live_on_a_long_problem():
    long = sdpa_problem(Shape(1, 1, 1024, 64), "float16", backend="math")
    normal_only = dataclasses.replace(long, hard_inputs=None)
    alone = fates(normal_only, ErrorGate(2e-3, factor=math.inf))
    assert {"output in bfloat16", "weights and values in bfloat16"} <= set(alone.lived)
    assert fates(normal_only, ErrorGate(2e-3)).lived == ()


def test_exp_without_the_maximum_overflows_on_hard_draws_of_any_length():
    for length in (2, 17, 300):
        (fate,) = (
            fate
            for fate in fates(sdpa_problem(Shape(1, 1, length, 64), "float32", backend="math")).fates
            if fate.name == "exp without the maximum"
        )
        assert (fate.outcome, fate.kind) == ("killed", "hard")


def operator(name, inputs, function, **more):
    return Problem(
        name=name,
        inputs=inputs,
        reference=function,
        exact=lambda *tensors: function(*(t.double() if t.is_floating_point() else t for t in tensors)),
        **more,
    )


def normal(*extents, dtype=torch.float32):
    return lambda g: tuple(torch.randn(each, generator=g, device=g.device).to(dtype) for each in extents)


OPERATORS = [
    operator("softmax", normal((64, 1000)), lambda x: torch.softmax(x, -1)),
    operator("softmax float16", normal((8, 33, 70), dtype=torch.float16), lambda x: torch.softmax(x, -1)),
    operator("layer norm", normal((64, 256), dtype=torch.float16), lambda x: F.layer_norm(x, x.shape[-1:])),
    operator("matmul", normal((96, 80), (80, 64), dtype=torch.bfloat16), torch.matmul),
    operator("matmul float32", normal((65, 300), (300, 33)), torch.matmul),
    operator("row sums", normal((1000, 50)), lambda x: x.sum(-1)),
    operator("gelu float64", normal((100, 30), dtype=torch.float64), F.gelu),
    operator("argmax", normal((64, 100)), lambda x: x.argmax(-1)),
    operator("where positive", normal((64, 100)), lambda x: x > 0),
    operator(
        "add integers",
        lambda g: tuple(torch.randint(-99, 99, (64, 50), generator=g, device=g.device) for _ in range(2)),
        torch.add,
    ),
    operator("log of relu", normal((64, 100)), lambda x: torch.relu(x).log()),
]


@pytest.mark.parametrize("problem", OPERATORS, ids=lambda problem: problem.name)
def test_every_mutant_of_any_operator_dies(problem):
    result = fates(problem)
    assert (result.lived, result.honest) == ((), "")
    assert result.killed >= 8
    honest = outcome(reference_of(problem), problem)
    assert (honest.verdict, honest.weak) == (Verdict.PASS, ())


ONES = operator("relu of ones", lambda g: (torch.ones(64, 64),), torch.relu)
NOTHING = operator("x - x", normal((64, 64)), lambda x: x - x)
SOFTMAX = OPERATORS[0]


@pytest.mark.parametrize(
    ("problem", "gate", "lived"),
    [
        (ONES, None, {"one number everywhere", "a remembered answer"}),
        (NOTHING, None, {"zeros", "one number everywhere", "a remembered answer"}),
        (SOFTMAX, ErrorGate(1.0, factor=math.inf), {"zeros", "output in bfloat16", "the last row missing"}),
    ],
    ids=["same inputs every time", "zeros are the answer", "a tolerance above the outputs"],
)
def test_weak_check_is_told_by_the_selftest_and_by_every_check(problem, gate, lived):
    assert lived <= set(fates(problem, gate).lived)
    result = outcome(reference_of(problem), problem, gate)
    assert result.verdict is Verdict.PASS
    assert lived <= set(result.weak)


def test_loose_tolerance_alone_makes_no_weak_check():
    assert fates(SOFTMAX, ErrorGate(1.0)).lived == ()
    assert outcome(reference_of(SOFTMAX), SOFTMAX, ErrorGate(1.0)).weak == ()


def test_mutants_of_the_users_own_are_shown_to_the_check():
    def forgets_the_last_column(x):
        answer = torch.softmax(x, -1)
        answer[:, -1] = 0
        return answer

    def breaks(x):
        raise RuntimeError("broken")

    own = {"forgets the last column": forgets_the_last_column, "honest": reference_of(SOFTMAX), "breaks": breaks}
    found = {fate.name: fate for fate in fates(dataclasses.replace(SOFTMAX, mutants=own)).fates}
    assert found["forgets the last column"].outcome == "killed"
    assert found["honest"].outcome == SAME
    assert found["breaks"].check == "raised"


def test_reference_that_would_fail_its_own_check_is_told():
    coarse = dataclasses.replace(SOFTMAX, reference=lambda x: torch.softmax(x.bfloat16(), -1).float())
    result = fates(coarse, ErrorGate(1e-7))
    assert "allowed is 1e-07" in result.honest


def test_coarse_reference_lets_coarse_arithmetic_pass():
    coarse = dataclasses.replace(SOFTMAX, reference=lambda x: torch.softmax(x.bfloat16(), -1).float())
    found = {fate.name: fate.outcome for fate in fates(coarse).fates}
    assert found["output in bfloat16"] in (LIVED, SAME)
    assert found["zeros"] == "killed"


def test_stale_memory_of_the_reference_is_no_answer():
    """What the allocator hands out next may be the reference's freed output, of other values."""
    problem = operator("relu", normal((512, 512)), torch.relu)
    assert outcome(lambda x: torch.empty_like(x), problem).verdict is Verdict.FAIL


def test_exact_answer_with_nan_is_refused_instead_of_passing_everything():
    problem = operator("root", normal((64, 64)), torch.sqrt)
    with pytest.raises(Exception, match="exact answer holds NaN"):
        outcome(torch.zeros_like, problem)


def test_input_that_was_changed_back_to_front_is_noticed():
    def sorts_in_place(x):
        answer = torch.relu(x)
        x.copy_(x.flip(0))
        return answer

    with pytest.raises(CandidateError, match="changed its input 0"):
        outcome(sorts_in_place, operator("relu", normal((8, 8)), torch.relu))
