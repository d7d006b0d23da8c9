"""Attention of 8-bit elements as a problem: an honest kernel passes, mistakes with scales and weights do not."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate import Shape
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
from pytest_kgate.bench.correctness.selftest import selftest
from pytest_kgate.bench.processes.clean.problem.rebuild import rebuilt
from pytest_kgate.bench.processes.clean.problem.recipe import recipe_of
from pytest_kgate.device.arm import bind
from pytest_kgate.device.arm import prepare
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.attention.eight_bits.dequantised import OnDequantised
from pytest_kgate.problems.attention.eight_bits.parts import TOLERANCE
from pytest_kgate.problems.attention.exact import exact_attention
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import Verdict
from tests.support.eight_bits import eight_bit_kernel

pytestmark = pytest.mark.usefixtures("one_thread")

EIGHT_BITS = "float8_e4m3fn"

SHAPES = [
    Shape(1, 6, 1, 64),
    Shape(1, 6, 2, 64, True),
    Shape(1, 4, 17, 64, kv_heads=2),
    Shape(2, 4, 130, 128, True, kv_heads=2),
    Shape(1, 4, 40, 64, True, kv_seqlen=300),
]

LONG = [Shape(1, 2, 513, 64), Shape(1, 1, 1024, 128, True), Shape(1, 1, 2048, 64)]

ALLOWED = {"2% too large", "output in fp8"}
"""What lives: weights of 8 bits are as far off."""

MISTAKES = {
    "the scale of v forgotten": Shape(1, 2, 1, 64),
    "scales of the wrong head": Shape(1, 6, 40, 64, kv_heads=2),
    "queries, keys and values in e5m2": Shape(1, 2, 3, 128),
    "weights in e5m2": Shape(1, 2, 65, 64, True),
    "weights that are not scaled up": Shape(1, 1, 1024, 64, True),
}


def checked(shape, kernel):
    problem = sdpa_problem(shape, EIGHT_BITS)
    arm, reference = (
        bind(role, one, problem.params)
        for role, one in (("candidate", kernel), ("reference", problem.reference["math"]))
    )
    return check(HostDevice(), problem, arm, reference, None, 42)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_honest_kernel_passes(shape):
    # Hopper's accumulators keep some 14 bits of 8-bit products; others keep all.
    for bits in (None, 14):
        result = checked(shape, eight_bit_kernel(bits))
        assert result.verdict is Verdict.PASS, (bits, result.reason)
        assert set(result.weak) <= ALLOWED


@pytest.mark.parametrize("shape", LONG, ids=str)
def test_honest_kernel_is_near_enough_over_many_keys(shape):
    problem = sdpa_problem(shape, EIGHT_BITS)
    for draw in (problem.inputs, problem.hard_inputs):
        inputs = draw(torch.Generator().manual_seed(5))
        exact, reference = (one(*inputs, **problem.params) for one in (problem.exact, problem.reference["math"]))
        truth = ExactAnswer(exact, reference)
        answer = eight_bit_kernel(14)(*inputs, **problem.params)
        assert not truth.compare(answer, truth.limits(ErrorGate(*TOLERANCE))).reason


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_mistake_that_is_one_on_the_shape_is_found(shape):
    problem = sdpa_problem(shape, EIGHT_BITS)
    result = selftest(HostDevice(), problem, bind("reference", problem.reference["math"], problem.params), None, 42)
    assert result.honest == ""
    assert len(problem.mutants) >= 3
    assert not problem.mutants.keys() & set(result.lived)
    assert set(result.lived) <= ALLOWED


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_found_on_a_shape_that_is_known_to_show_it(name):
    assert checked(MISTAKES[name], sdpa_problem(MISTAKES[name], EIGHT_BITS).mutants[name]).verdict is Verdict.FAIL


def test_inputs_are_elements_of_8_bits_with_a_scale_a_head_and_outliers_among_the_hard_ones():
    problem = sdpa_problem(Shape(2, 4, 60, 64, kv_heads=2), EIGHT_BITS)
    for hard in (False, True):
        draw = problem.hard_inputs if hard else problem.inputs
        q, k, v, bias, *scales = draw(torch.Generator().manual_seed(3))
        assert [one.dtype for one in (q, k, v)] == [torch.float8_e4m3fn] * 3
        assert bias is None
        assert [(one.shape, one.dtype) for one in scales] == [((n,), torch.float32) for n in (4, 2, 2)]
        for elements, scale in zip((q, k, v), scales, strict=True):
            by_head = elements.float().abs().transpose(0, 1).flatten(1)
            assert by_head.amax(1).tolist() == [448.0] * len(scale)
        largest = v.float().abs().transpose(0, 1).flatten(1).topk(3).values  # the outliers are of two batches
        assert bool((largest[:, 0] > 1.4 * largest[:, 2]).all()) is hard
        values = [
            elements.double() * scale.double()[:, None, None] for elements, scale in zip((q, k, v), scales, strict=True)
        ]
        torch.testing.assert_close(problem.exact(q, k, v, bias, *scales, **problem.params), exact_attention(*values))


def test_reference_has_its_values_made_before_it_is_timed():
    problem = sdpa_problem(Shape(1, 2, 20, 64), EIGHT_BITS, "math")
    arm = bind("reference", problem.reference["math"], problem.params)
    inputs = problem.inputs(torch.Generator().manual_seed(1))
    prepare([arm], [inputs])
    first = arm.call(inputs, None)
    inputs[2].copy_(torch.zeros(inputs[2].shape))
    assert torch.equal(arm.call(inputs, None), first)  # made of the values before
    prepare([arm], [inputs])
    assert not arm.call(inputs, None).any()
    # A candidate would leave out of what is timed what it is timed for.
    assert bind("candidate", OnDequantised(torch.add), {}).prepare is None


def test_problem_can_be_made_again_in_another_process():
    problem = sdpa_problem(Shape(1, 2, 20, 64, True), EIGHT_BITS)
    again = rebuilt(recipe_of(problem, "math", ()))
    inputs = problem.inputs(torch.Generator().manual_seed(2))
    assert torch.equal(again.inputs(torch.Generator().manual_seed(2))[4], inputs[4])
    assert torch.equal(again.exact(*inputs, **problem.params), problem.exact(*inputs, **problem.params))


def test_what_there_is_not_of_8_bits_is_refused():
    for shape, what in (
        (Shape(1, 2, 8, 64, window=3, bias="heads"), "window, bias"),
        (Shape(1, 2, 8, 64, True, kv_seqlen=4), "rows without a key"),
    ):
        with pytest.raises(UsageError, match=f"float8_e4m3fn has no {what}"):
            sdpa_problem(shape, EIGHT_BITS)
    with pytest.raises(UsageError, match=r"has no outputs 'o\+lse'"):
        sdpa_problem(Shape(1, 2, 8, 64), EIGHT_BITS, outputs="o+lse")
