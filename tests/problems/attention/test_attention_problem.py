"""Attention of every shape: the exact answer, references that compute the same, honest kernels, mutants, costs."""

from __future__ import annotations

import json
import math

import pytest
import torch

from pytest_kgate import Shape
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.selftest import selftest
from pytest_kgate.bench.processes.clean.problem.rebuild import rebuilt
from pytest_kgate.bench.processes.clean.problem.recipe import recipe_of
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.attention import exact
from pytest_kgate.problems.attention.problem import arguments_of
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import Verdict
from tests.support.attention import EXTENTS
from tests.support.attention import plain_attention
from tests.support.attention import tiled

pytestmark = pytest.mark.usefixtures("one_thread")

TOLERANCE = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 1e-5}
HOST = ("flash", "math")


def drawn(problem, *, hard, seed=1):
    return (problem.hard_inputs if hard else problem.inputs)(torch.Generator().manual_seed(seed))


def references_on_the_host(problem):
    return {name: bind("reference", one, problem.params) for name, one in problem.reference.items() if name in HOST}


@pytest.mark.parametrize("chunk", [2**28, 2**14], ids=["at once", "in chunks"])
@pytest.mark.parametrize("shape", EXTENTS, ids=str)
def test_exact_answer_is_what_the_shape_says(shape, chunk, monkeypatch):
    monkeypatch.setattr(exact, "_CHUNK_BYTES", chunk)
    problem = sdpa_problem(shape, "float32", outputs="o+lse")
    for hard in (False, True):
        inputs = drawn(problem, hard=hard)
        answer, log_sums = problem.exact(*inputs, **problem.params)
        expected, expected_sums = plain_attention(shape, *inputs)
        torch.testing.assert_close(answer, expected, atol=1e-11, rtol=0)
        torch.testing.assert_close(log_sums, expected_sums, atol=1e-9, rtol=0)


@pytest.mark.parametrize("outputs", ["o", "o+lse"])
@pytest.mark.parametrize("shape", EXTENTS, ids=str)
def test_references_compute_the_same_on_the_host(shape, outputs):
    for dtype in ("float32", "float16"):
        problem = sdpa_problem(shape, dtype, outputs=outputs)
        found = references_on_the_host(problem)
        assert set(found) == ({"math"} if shape.softcap else set(HOST))
        for reference in found.values():
            result = check(HostDevice(), problem, reference, found["math"], ErrorGate(TOLERANCE[dtype]), 42)
            assert result.verdict is Verdict.PASS, result.reason


@pytest.mark.parametrize("shape", EXTENTS, ids=str)
def test_honest_kernels_pass(shape):
    for dtype in ("float16", "bfloat16"):
        # Without a tolerance of the test's own, it follows from the reference's error.
        for outputs, prescaled, gate in (("o+lse", False, ErrorGate(TOLERANCE[dtype])), ("o", True, None)):
            problem = sdpa_problem(shape, dtype, outputs=outputs)
            math_one = references_on_the_host(problem)["math"]
            kernel = bind("candidate", tiled(shape, prescaled=prescaled), problem.params)
            result = check(HostDevice(), problem, kernel, math_one, gate, 42)
            assert result.verdict is Verdict.PASS, (prescaled, result.reason)
            assert result.weak == ()


@pytest.mark.parametrize("shape", EXTENTS, ids=str)
def test_every_mutant_dies_that_is_wrong_on_the_shape(shape):
    problem = sdpa_problem(shape, "float16", outputs="o+lse")
    arm = references_on_the_host(problem)["math"]
    result = selftest(HostDevice(), problem, arm, ErrorGate(TOLERANCE["float16"]), 42)
    assert (result.lived, result.honest) == ((), "")
    assert result.killed >= 30
    assert problem.mutants.keys() <= {fate.name for fate in result.fates}


MUTANTS = {
    "rows placed from the first key on": Shape(1, 2, 30, 64, True, kv_seqlen=50),
    "a window that begins a key early": Shape(1, 2, 60, 64, True, window=9),
    "a window that begins a key late": Shape(1, 2, 60, 64, window=9),
    "a window that ends a key early": Shape(1, 2, 60, 64, window=9),
    "a window that ends a key late": Shape(1, 2, 60, 64, window=9),
    "no window": Shape(1, 2, 60, 64, True, window=9),
    "heads that read other heads' keys in turn": Shape(1, 4, 20, 64, kv_heads=2),
    "all heads read the keys of the first": Shape(1, 4, 1, 64, kv_heads=2, kv_seqlen=40),
    "no cap": Shape(1, 4, 1, 80, True, kv_seqlen=200, window=7, softcap=50),
    "a cap before the scale": Shape(1, 2, 60, 64, softcap=30),
    "a cap on masked scores": Shape(1, 2, 60, 64, True, softcap=5),
    "the usual scale": Shape(1, 2, 60, 64, scale=0.2),
    "no bias": Shape(1, 2, 60, 64, bias="shared"),
    "another head's bias": Shape(1, 2, 60, 64, bias="heads"),
    "another batch's bias": Shape(2, 2, 60, 64, bias="full"),
    "a bias before the cap": Shape(1, 2, 60, 64, softcap=30, bias="heads"),
    "a bias before the scale": Shape(1, 2, 60, 64, bias="heads"),
    "NaN in rows without a key": Shape(1, 2, 40, 64, True, kv_seqlen=30),
    "the mean of the values in rows without a key": Shape(1, 2, 40, 64, True, kv_seqlen=30),
    "a log-sum-exp in base 2": Shape(1, 2, 40, 64),
    "a log-sum-exp of unscaled scores": Shape(1, 2, 40, 64),
    "a log-sum-exp without the maximum": Shape(1, 2, 40, 64),
    "a log-sum-exp one key short": Shape(1, 1, 1, 64, kv_seqlen=500),
    "the maximum as the log-sum-exp": Shape(1, 2, 40, 64),
    "a log-sum-exp of 0 in rows without a key": Shape(1, 2, 40, 64, True, kv_seqlen=30),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mistake_is_found_by_a_check_of_the_shape_that_it_is_made_on(name):
    problem = sdpa_problem(MUTANTS[name], "bfloat16", outputs="o+lse" if "log-sum-exp" in name else "o")
    mutant = bind("candidate", problem.mutants[name], problem.params)
    found = check(HostDevice(), problem, mutant, references_on_the_host(problem)["math"], ErrorGate(1.6e-2), 7)
    assert found.verdict is Verdict.FAIL


def test_candidate_is_called_with_what_the_shape_asks_for_and_no_more():
    usual = sdpa_problem(Shape(1, 2, 8, 64))
    assert dict(usual.params) == {"is_causal": False}
    shape = Shape(1, 2, 8, 64, True, window=3, softcap=30, scale=0.5, bias="heads")
    problem = sdpa_problem(shape, outputs="o+lse")
    assert problem.params == {"is_causal": True, "window": 3, "softcap": 30, "scale": 0.5, "return_lse": True}
    assert [tuple(one.shape) for one in drawn(problem, hard=True)] == [(1, 2, 8, 64)] * 3 + [(1, 2, 8, 8)]


@pytest.mark.parametrize(
    ("arguments", "what", "todo"),
    [
        ({"outputs": "lse"}, "Attention has no outputs 'lse'.", "Use one of o, o+lse."),
        ({"backend": "flash"}, "Attention of 1x2x8x64-softcap30 is not raced against flash.", "one of flex, math."),
        ({"backend": "fast"}, "There is no SDPA backend 'fast'.", "efficient, math, flex."),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(arguments, what, todo):
    with pytest.raises(UsageError) as raised:
        sdpa_problem(Shape(1, 2, 8, 64, softcap=30), **arguments)
    assert raised.value.what == what
    assert raised.value.todo.endswith(todo)


@pytest.mark.parametrize("shape", [*EXTENTS, Shape(1, 8, 512, 64)], ids=str)
@pytest.mark.parametrize("outputs", ["o", "o+lse"])
def test_problem_is_the_same_when_another_process_makes_it_again(shape, outputs):
    problem = sdpa_problem(shape, "bfloat16", "math", outputs=outputs)
    assert arguments_of(problem) == {"shape": shape.arguments(), "dtype": "bfloat16", "outputs": outputs}
    again = rebuilt(json.loads(json.dumps(recipe_of(problem, "math", frozenset()))))
    assert again.inputs is problem.inputs
    assert again.reference is problem.reference["math"]
    assert (again.name, again.params, again.tolerance) == (problem.name, problem.params, problem.tolerance)


def test_costs_are_those_of_the_keys_that_are_seen():
    def costs(*arguments, **named):
        problem = sdpa_problem(Shape(*arguments, **named))
        return problem.flops, problem.bytes

    assert costs(2, 4, 10, 64) == (4 * 2 * 4 * 100 * 64, 2 * 4 * 2 * 4 * 10 * 64)
    assert costs(2, 4, 10, 64, True)[0] == 4 * 2 * 4 * 55 * 64
    # A decode step: the queries and the answer of 8 heads, keys and values of 2.
    assert costs(1, 8, 1, 64, kv_heads=2, kv_seqlen=100) == (4 * 8 * 100 * 64, 2 * 2 * 64 * (8 + 2 * 100))
    assert costs(1, 8, 1, 64, True, kv_seqlen=100, window=10) == (4 * 8 * 10 * 64, 2 * 2 * 64 * (8 + 8 * 10))
    # A bias is read where it is added, once for all that share it; the log-sum-exp takes four bytes a row.
    assert costs(2, 4, 10, 64, bias="heads")[1] - costs(2, 4, 10, 64)[1] == 2 * 4 * 100
    assert costs(2, 4, 10, 64, True, bias="full")[1] - costs(2, 4, 10, 64)[1] == 2 * 2 * 4 * 55
    with_log_sum = sdpa_problem(Shape(2, 4, 10, 64), outputs="o+lse")
    assert with_log_sum.bytes - costs(2, 4, 10, 64)[1] == 4 * 2 * 4 * 10


@pytest.mark.parametrize(
    ("shape", "small"),
    [
        (Shape(8, 16, 4096, 128, True), Shape(2, 2, 256, 128, True)),
        (Shape(1, 32, 1, 128, True, kv_heads=8, kv_seqlen=8191), Shape(1, 8, 1, 128, True, kv_heads=2, kv_seqlen=383)),
        (Shape(1, 2, 1000, 64, True, kv_seqlen=1024), Shape(1, 2, 360, 64, True, kv_seqlen=384)),
        (Shape(1, 2, 1024, 64, True, kv_seqlen=1000), Shape(1, 2, 384, 64, True, kv_seqlen=360)),
        (Shape(1, 2, 4096, 64, window=1000, softcap=30), Shape(1, 2, 256, 64, window=232, softcap=30)),
        (Shape(1, 2, 100, 64, window=200, bias="full"), None),
    ],
    ids=str,
)
def test_smaller_problem_takes_the_same_paths(shape, small):
    found = sdpa_problem(shape, outputs="o+lse").small
    if small is None:
        assert found is None
        return
    assert found.shape == small
    assert found.params["return_lse"] is True


def test_hard_draws_reach_the_edges_of_what_a_row_sees():
    shape = Shape(1, 4, 64, 64, kv_seqlen=80, window=10)
    query, key, _ = drawn(sdpa_problem(shape, "float32"), hard=True)
    found = (query @ key.transpose(2, 3)).argmax(-1) - torch.arange(64) - 16
    looked_up = set(found[:, :, 3::4].flatten().tolist())
    assert {0, 9, 10, -9, -10} <= looked_up
    assert int((query[0, 0, -1] @ key[0, 0].T).argmax()) == 79


@pytest.mark.parametrize(
    "shape",
    [
        Shape(1, 1, 1, 64, softcap=30),
        Shape(1, 1, 5, 1, True, softcap=30, window=1),
        Shape(1, 1, 1, 64, True, kv_seqlen=9, window=2, softcap=3),
        Shape(1, 2, 9, 64, kv_heads=1, kv_seqlen=1, scale=5),
        Shape(1, 1, 3, 8, window=50, bias="full"),
    ],
    ids=str,
)
def test_smallest_problems_are_drawn_and_answered(shape):
    problem = sdpa_problem(shape, "float32", outputs="o+lse")
    for hard in (False, True):
        inputs = drawn(problem, hard=hard)
        assert all(bool(one.isfinite().all()) for one in inputs)
        expected = problem.exact(*inputs, **problem.params)
        found = problem.reference["math"](*inputs, **problem.params)
        torch.testing.assert_close(tuple(one.double() for one in found), expected, atol=1e-3, rtol=1e-5)


def test_log_sum_exp_of_a_row_without_a_key_must_be_minus_infinity():
    shape = Shape(1, 2, 40, 64, True, kv_seqlen=30)
    problem = sdpa_problem(shape, outputs="o+lse")
    right = tiled(shape)

    def very_small(query, key, value, *, return_lse):
        answer, log_sums = right(query, key, value, return_lse=return_lse)
        return answer, log_sums.clamp(min=-1e30)

    arms = bind("candidate", very_small, problem.params), references_on_the_host(problem)["math"]
    result = check(HostDevice(), problem, *arms, None, 42)
    assert result.verdict is Verdict.FAIL
    assert result.reason.startswith("output 1: ")
    assert problem.exact(*drawn(problem, hard=True), **problem.params)[1][0, 0, 9] == -math.inf
