"""Operators with several outputs, and those that change their inputs: every output is judged, each by its own type."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import pytest
import torch

from pytest_kgate import Problem
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.selftest import selftest
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import UsageError
from pytest_kgate.statistics.gates import ErrorGate


class Normed(NamedTuple):
    out: torch.Tensor
    rstd: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Statistics:
    mean: torch.Tensor
    count: torch.Tensor | None = None


def draw(g):
    return (torch.randn(33, 70, generator=g),)


def outcome(candidate, problem, gate=None):
    arms = [bind(role, one, problem.params, problem.mutates) for role, one in
            (("candidate", candidate), ("reference", problem.reference))]  # fmt: skip
    return check(HostDevice(), problem, *arms, gate, 42)


def with_lse(x):
    return torch.softmax(x, -1), torch.logsumexp(x, -1)


LSE = Problem(name="softmax with lse", inputs=draw, reference=with_lse, exact=lambda x: with_lse(x.double()))
TOPK = Problem(
    name="topk", inputs=draw, reference=lambda x: torch.topk(x, 4), exact=lambda x: tuple(torch.topk(x.double(), 4))
)


def norm(x):
    return Normed(x / x.square().mean(-1, keepdim=True).sqrt(), x.square().mean(-1).rsqrt())


def statistics(x):
    return Statistics(x.mean(-1))


def in_dict(x):
    return {"sum": x.sum(-1), "parts": [x.amax(-1), x.argmax(-1)]}


@pytest.mark.parametrize("function", [with_lse, norm, statistics, in_dict], ids=lambda one: one.__name__)
def test_several_outputs_in_any_container_are_judged(function):
    problem = Problem(name="several", inputs=draw, reference=function, exact=lambda x: function(x.double()))
    found = outcome(lambda x: function(x), problem)
    assert not found.failed
    assert not found.weak
    assert len(found.to_dict().get("outputs", "x")) == len(outcome(function, problem).outputs or "x")


def test_keys_of_a_dict_may_come_in_any_order():
    problem = Problem(name="dict", inputs=draw, reference=in_dict, exact=lambda x: in_dict(x.double()))
    assert not outcome(lambda x: dict(reversed(in_dict(x).items())), problem).failed


def test_output_that_is_the_same_on_every_draw_makes_the_check_weak():
    def scaled(x):
        return x * 0.5, ~torch.isfinite(x).all()

    problem = Problem(name="scaled", inputs=draw, reference=scaled, exact=lambda x: scaled(x.double()))
    found = outcome(lambda x: (x * 0.5, torch.tensor(False)), problem)  # never looks for what is not finite
    assert not found.failed
    assert "zeros (output 1), one number everywhere (output 1), a remembered answer (output 1)" in found.lets_idle_pass


def test_wrong_second_output_is_found_and_named():
    found = outcome(lambda x: (torch.softmax(x, -1), torch.logsumexp(x, -1) + (x[:, :1] > 2).squeeze() * 0.1), LSE)
    assert found.failed == "tolerance"
    assert found.reason.startswith("output 1: ")
    assert found.worst["output"] == "output 1"
    assert len(found.worst["index"]) == 1


def test_wrong_field_of_a_named_tuple_is_told_by_its_name():
    problem = dataclasses.replace(LSE, reference=lambda x: Normed(*with_lse(x)))
    assert outcome(lambda x: (with_lse(x)[0], with_lse(x)[1] + 1), problem).reason.startswith("output 1 (rstd): max ")
    nested = dataclasses.replace(
        LSE,
        reference=lambda x: {"none": None, "both": Normed(None, x.sum(-1)), "top": [torch.topk(x, 4)]},
        exact=lambda x: {"none": None, "both": Normed(None, x.double().sum(-1)), "top": [torch.topk(x.double(), 4)]},
    )
    for at, title in enumerate(("output both 1 (rstd)", "output top 0 0 (values)", "output top 0 1 (indices)")):
        found = nested.reference

        def candidate(x, found=found, at=at):
            answer = found(x)
            several = [answer["both"].rstd, *answer["top"][0]]
            several[at] = several[at] + 1
            return {"none": None, "both": Normed(None, several[0]), "top": [several[1:]]}

        assert outcome(candidate, nested).reason.startswith(f"{title}: max ")


def test_integers_among_the_outputs_stay_integers():
    assert not outcome(lambda x: torch.sort(x, -1, descending=True)[0][:, :4], TOPK_VALUES).failed
    found = outcome(lambda x: (torch.topk(x, 4)[0], torch.topk(x, 4)[1].flip(-1)), TOPK)
    assert found.worst["output"] == "output 1"
    assert isinstance(found.worst["exact"], int)


TOPK_VALUES = dataclasses.replace(
    TOPK, reference=lambda x: torch.topk(x, 4).values, exact=lambda x: torch.topk(x.double(), 4).values
)


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (lambda x: torch.softmax(x, -1), "returned a Tensor, and the problem asks for output 0, output 1"),
        (lambda x: (*with_lse(x), x), "with output 0, output 1, output 2"),
        (lambda x: (torch.softmax(x, -1), 3.0), "returned a float, not a tensor, as its output 1"),
        (lambda x: (x, torch.logsumexp(x, -1)), "output 0 shares memory with its input 0"),
        (lambda x: (torch.softmax(x, -1), torch.logsumexp(x, -1).double()), "output 1 has dtype torch.float64"),
    ],
)
def test_answer_that_is_built_otherwise_is_refused_in_a_sentence(candidate, said):
    with pytest.raises(CandidateError, match=said):
        outcome(candidate, LSE)


class Lazy(tuple):
    """Computes what it holds when it is read: after the clock has stopped."""

    def __iter__(self):
        return iter(with_lse(self[0]))


@dataclasses.dataclass
class Late:
    x: torch.Tensor
    lse = property(lambda self: torch.logsumexp(self.x, -1))


Late.__dataclass_fields__["lse"] = Late.__dataclass_fields__["x"]


@pytest.mark.parametrize("kind", [lambda x: Lazy([x, x]), Late], ids=["tuple", "dataclass"])
def test_container_that_computes_when_it_is_read_is_refused(kind):
    with pytest.raises(CandidateError, match=r"which may compute what it holds|asks for output 0"):
        outcome(kind, LSE)


def test_exact_with_another_number_of_outputs_is_misuse():
    problem = dataclasses.replace(LSE, exact=lambda x: torch.softmax(x.double(), -1))
    with pytest.raises(UsageError, match="exact returned output, its reference output 0, output 1"):
        outcome(with_lse, problem)


def test_tolerances_hold_for_the_output_or_the_dtype_they_name():
    def rough(x):
        return torch.softmax(x, -1), torch.logsumexp(x, -1) + 1e-3

    def passes(tolerance, gate=None):
        return not outcome(rough, dataclasses.replace(LSE, tolerance=tolerance), gate).failed

    assert not passes({})
    assert not passes({"output 0": 1.0})
    assert not passes({"output 1": 1e-4})
    loose = ErrorGate(1e-6, factor=1e9)
    assert passes({"output 1": 2e-3}, loose)
    assert passes({"float32": (0.0, 1.0)}, loose)


def add_norm_(x, residual, weight):
    residual.add_(x)
    x.copy_(residual * residual.square().mean(-1, keepdim=True).rsqrt() * weight)


def add_norm_exact(x, residual, weight):
    total = residual.double() + x.double()
    return total * total.square().mean(-1, keepdim=True).rsqrt() * weight.double(), total


IN_PLACE = Problem(
    name="fused_add_rmsnorm",
    inputs=lambda g: (torch.randn(9, 70, generator=g), torch.randn(9, 70, generator=g), torch.rand(70, generator=g)),
    reference=add_norm_,
    exact=add_norm_exact,
    mutates=(0, 1),
)


def test_inputs_that_are_changed_in_place_are_checked_as_outputs():
    def returning(x, residual, weight):
        add_norm_(x, residual, weight)
        return x, residual

    assert not outcome(returning, IN_PLACE).failed

    def without_residual(x, residual, weight):
        add_norm_(x, residual.clone(), weight)

    found = outcome(without_residual, IN_PLACE)
    assert found.failed == "tolerance"
    assert found.reason.startswith("input 1: ")


DOUBLE = Problem("double", draw, lambda x: x.mul_(2), lambda x: x.double() * 2, mutates=(0,))
FIRST_ROW = Problem("row", draw, lambda x: x.mul_(2)[0], lambda x: (x.double()[0] * 2, x.double() * 2), mutates=(0,))


@pytest.mark.parametrize(
    ("candidate", "problem", "said", "todo"),
    [
        (lambda x: x * 2, DOUBLE, "returned a Tensor of its own, .* but what a call changes: input 0.", "or nothing."),
        (lambda x: x.mul_(2)[0], FIRST_ROW, "output shares memory with its input 0.", "itself, or a copy"),
        (lambda x: x.mul_(2), FIRST_ROW, "asks for output, input 0.", "what is changed in place need not be returned."),
    ],
    ids=["of its own", "a view", "too few"],
)
def test_answer_that_does_not_fit_a_problem_in_place_is_told_of_the_changed_input(candidate, problem, said, todo):
    with pytest.raises(CandidateError, match=said) as told:
        outcome(candidate, problem)
    assert todo in told.value.todo
    assert "A problem whose calls change inputs says so" not in told.value.todo


def test_input_that_is_not_declared_must_stay_as_it_is():
    def changing(x, residual, weight):
        add_norm_(x, residual, weight)
        weight.mul_(2)

    with pytest.raises(CandidateError, match="changed its input 2"):
        outcome(changing, IN_PLACE)


@pytest.mark.parametrize("problem", [LSE, TOPK, IN_PLACE], ids=lambda one: one.name)
def test_mutants_of_every_output_die(problem):
    reference = bind("reference", problem.reference, problem.params, problem.mutates)
    found = selftest(HostDevice(), problem, reference, None, 42)
    assert not found.honest
    assert not found.lived
    assert found.killed > 12
