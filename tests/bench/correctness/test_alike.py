"""A problem whose inputs or answers change in kind from call to call is told so, and its candidate is not blamed."""

from __future__ import annotations

import itertools

import pytest
import torch

from pytest_kgate import Problem
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.problem_calls import demand_repeatable
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import ProblemError
from pytest_kgate.errors import UsageError


def normal(g):
    return (torch.randn(8, 6, generator=g),)


def doubled(x):
    return x + x


def outcome(candidate=doubled, **parts):
    whole = {"inputs": normal, "reference": lambda x: x * 2, "exact": lambda x: x.double() * 2, **parts}
    arms = [bind(role, one, {}) for role, one in (("candidate", candidate), ("reference", whole["reference"]))]
    return check(HostDevice(), Problem(name="twice", **whole), *arms, None, 42)


def lot(g, below):
    return int(torch.randint(1, below, (), generator=g))


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda g: (torch.randn(lot(g, 99), generator=g),), r"input 0 is float32 of shape \(\d+,\), and was"),
        (lambda g: (torch.randn(8, generator=g).to((torch.float16, torch.float32)[lot(g, 3) - 1]),), "input 0 is flo"),
        (lambda g: tuple(torch.randn(8, generator=g) for _ in range(lot(g, 9))), r"there are \d, and there were \d"),
        (lambda g: ([torch.randn(8, generator=g) for _ in range(lot(g, 9))],), "input 0 is a list of others"),
    ],
    ids=["shape", "dtype", "number", "list"],
)
def test_inputs_of_another_kind_for_each_seed_are_the_problem_s(draw, said):
    def summed(*several):
        return sum(map(torch.sum, several[0] if isinstance(several[0], list) else several))

    with pytest.raises(ProblemError, match=f"inputs of twice differ in shape, dtype or number from draw.*{said}"):
        outcome(summed, inputs=draw, reference=summed, exact=lambda *several: summed(*several).double())


@pytest.mark.parametrize(
    "hard",
    [lambda g: normal(g)[0][:3], lambda g: normal(g)[0].double(), lambda g: normal(g) * 2],
    ids=["shape", "dtype", "number"],
)
def test_hard_inputs_of_another_kind_are_the_problem_s(hard):
    with pytest.raises(ProblemError, match="The hard inputs of twice differ from its inputs in shape, dtype or number"):
        outcome(hard_inputs=hard)


def test_numbers_and_elements_of_sparse_inputs_may_change_from_draw_to_draw():
    def draw(g):
        return torch.randn(8, 6, generator=g).relu().to_sparse(), lot(g, 99)

    found = outcome(
        lambda x, n: x.to_dense() * n,
        inputs=draw,
        reference=lambda x, n: n * x.to_dense(),
        exact=lambda x, n: n * x.to_dense().double(),
    )
    assert not found.failed


def in_turn(*functions):
    turns = itertools.count()
    return lambda x: functions[min(next(turns), len(functions) - 1)](x)


@pytest.mark.parametrize(
    ("later", "said"),
    [
        (lambda x: {"a": x * 2}, "it returned output a, and output at first"),
        (lambda x: (x * 2)[:3], r"it returned output of shape \(3, 6\), and \(8, 6\) at first"),
        (lambda x: (x * 2).double(), "it returned output of float64, and of float32 at first"),
    ],
    ids=["structure", "shape", "dtype"],
)
def test_reference_that_changes_in_kind_is_told(later, said):
    with pytest.raises(ProblemError, match=f"reference's answers change in kind from call to call: {said}"):
        outcome(reference=in_turn(doubled, later))


def test_right_candidate_is_not_blamed_where_the_shape_depends_on_values():
    with pytest.raises(ProblemError, match="reference's answers change in kind"):
        outcome(lambda x: x[x > 0], reference=lambda x: x[x > 0], exact=lambda x: x[x > 0].double())


def test_candidate_of_another_shape_is_still_blamed():
    with pytest.raises(CandidateError, match=r"has shape \(3, 6\), but the problem asks for \(8, 6\)"):
        outcome(lambda x: (x * 2)[:3])


def test_list_that_contains_itself_is_told():
    def draw(g):
        several = [*normal(g)]
        several.append(several)
        return (several,)

    with pytest.raises(UsageError, match="inputs hold a list or a dict that contains itself"):
        workload_of(Problem("endless", draw, doubled, doubled), HostDevice()).draw(1)


def test_candidate_s_list_that_contains_itself_is_told():
    def endless(x):
        several = []
        several.append(several)
        return several

    with pytest.raises(CandidateError, match="returned a list that contains itself"):
        outcome(endless)


@pytest.mark.skipif(not hasattr(torch, "float4_e2m1fn_x2"), reason="this PyTorch has no such type")
def test_output_in_a_type_without_arithmetic_is_told():
    def packed(x):
        return x.to(torch.uint8).view(torch.float4_e2m1fn_x2)

    with pytest.raises(UsageError, match="reference returned float4_e2m1fn_x2, in which PyTorch itself can neither"):
        outcome(packed, reference=packed, exact=packed)


def negated(g):
    return (torch.randn(8, 6, generator=g, dtype=torch.cfloat).conj().imag,)


def test_negated_view_of_an_input_repeats():
    demand_repeatable(Problem("nv", negated, doubled, doubled), HostDevice())


def test_negated_view_that_calls_change_is_told():
    problem = Problem("nv", negated, lambda x: x.mul_(2), lambda x: x.double() * 2, mutates=(0,))
    with pytest.raises(UsageError, match="input 0, which calls change, has a pending conjugation or negation"):
        demand_repeatable(problem, HostDevice())


def test_right_and_wrong_candidates_on_a_negated_view():
    assert not outcome(inputs=negated).failed
    assert outcome(lambda x: x * -2, inputs=negated).failed == "tolerance"
