"""Problems with several right answers: every right one passes, what is wrong in any way does not."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pytest_kgate import Problem
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.selftest import selftest
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import ProblemError
from pytest_kgate.errors import UsageError
from pytest_kgate.problems import equal

ARGMAX = Problem(
    name="argmax with ties",
    inputs=lambda g: (torch.randint(0, 4, (64, 96), generator=g).half(),),
    reference=lambda x: x.argmax(-1),
    exact=lambda x: x.double().argmax(-1),
    equal=equal.ties(),
)
TOPK = dataclasses.replace(
    ARGMAX,
    name="topk with ties",
    reference=lambda x: torch.topk(x, 5),
    exact=lambda x: tuple(torch.topk(x.double(), 5)),
)
DROPOUT = Problem(
    name="dropout",
    inputs=lambda g: (torch.randn(200, 300, generator=g),),
    reference=lambda x: F.dropout(x, 0.25),
    exact=lambda x: x.double(),
    equal=equal.dropout(0.25),
)


def outcome(candidate, problem):
    return check(
        HostDevice(), problem, bind("candidate", candidate, {}), bind("reference", problem.reference, {}), None, 42
    )


def last_argmax(x):
    return x.shape[-1] - 1 - x.flip(-1).argmax(-1)


def last_topk(x):
    values, indices = torch.topk(x.flip(-1), 5)
    return values, x.shape[-1] - 1 - indices


@pytest.mark.parametrize(
    ("problem", "candidate"),
    [
        (ARGMAX, last_argmax),
        (TOPK, last_topk),
        (DROPOUT, lambda x: torch.where(torch.rand_like(x) < 0.25, 0, x / 0.75)),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_another_right_answer_passes(problem, candidate):
    found = outcome(candidate, problem)
    assert not found.failed, found.reason
    assert not found.lets_idle_pass
    found = found.to_dict()
    assert found["by_equal"]


@pytest.mark.parametrize(
    ("problem", "candidate"),
    [
        (ARGMAX, lambda x: x.argmin(-1)),
        (ARGMAX, lambda x: x.argmax(-1) + 96),
        (TOPK, lambda x: (torch.topk(x, 5)[0], torch.topk(x, 5)[1][:, :1].expand(-1, 5).contiguous())),
        (TOPK, lambda x: (torch.topk(x, 5)[0] + 1, torch.topk(x, 5)[1])),
        (DROPOUT, lambda x: F.dropout(x, 0.2) * 0.8 / 0.75),
        (DROPOUT, lambda x: x * 1),
        (DROPOUT, lambda x: F.dropout(x[:, :1].expand_as(x).sign().abs(), 0.25).gt(0)[:, :1] * x / 0.75),
        (DROPOUT, lambda x: F.dropout(x, 0.25) * 0.75),
    ],
)
def test_wrong_answers_do_not_pass(problem, candidate):
    assert outcome(candidate, problem).failed == "equal"


def test_place_where_equal_says_no_is_shown():
    def wrong(x):
        answer = x.argmax(-1)
        answer[7] = x[7].argmin()
        return answer

    worst = outcome(wrong, ARGMAX).worst
    assert worst["index"] == [7]


@pytest.mark.parametrize("problem", [ARGMAX, TOPK, DROPOUT], ids=lambda one: one.name)
def test_mutants_die_where_equal_judges(problem):
    found = selftest(HostDevice(), problem, bind("reference", problem.reference, {}), None, 42)
    assert not found.honest
    assert not found.lived


def test_random_reference_is_told_what_to_do():
    random = dataclasses.replace(DROPOUT, equal=None, exact=lambda x: F.dropout(x.double(), 0.25))
    with pytest.raises(ProblemError, match=r"(?s)they are random\..*Problem\(equal="):
        outcome(DROPOUT.reference, random)


def test_order_that_says_nothing_is_ignored():
    unique = Problem(
        name="three largest in any order",
        inputs=lambda g: (torch.randn(8, 40, generator=g),),
        reference=lambda x: torch.topk(x, 3).values,
        exact=lambda x: torch.topk(x.double(), 3).values,
        equal=equal.unordered(atol=1e-6),
    )
    assert not outcome(lambda x: torch.topk(x, 3).values.flip(-1), unique).failed
    assert outcome(lambda x: torch.topk(x, 4).values[:, 1:], unique).failed == "equal"


def in_order(answer, exact, **arguments):
    return equal.unordered(**arguments)(answer, exact)


def test_complex_numbers_in_any_order_keep_both_parts():
    parts = torch.randint(-2, 3, (2, 5, 40), generator=torch.Generator().manual_seed(3)).float()
    x = torch.complex(*parts)
    for dim in (0, -1):
        assert in_order(x.flip(dim), x.to(torch.complex128), dim=dim)
        assert not in_order(x.real + 0j, x.to(torch.complex128), dim=dim)
        assert not in_order(x.conj(), x.to(torch.complex128), dim=dim)
    with pytest.raises(UsageError, match="takes no complex numbers"):
        in_order(x, x, atol=1e-6)


def test_infinities_in_any_order_are_equal_and_nan_is_not():
    x = torch.tensor([1.0, torch.inf, -torch.inf, 2.0])
    assert in_order(x.flip(0), x.double(), atol=1e-6)
    assert not in_order(x.flip(0), x.double().neg(), atol=1e-6)
    assert not in_order(torch.tensor([1.0, torch.inf, torch.inf, 2.0]), x.double(), atol=1e-6)
    assert not in_order(torch.tensor([1.0, torch.inf, torch.nan, 2.0]), x.double(), atol=1e-6)


def test_order_of_several_outputs_is_told_of_the_problem():
    two = Problem(
        name="two outputs in any order",
        inputs=lambda g: (torch.randn(40, generator=g),),
        reference=lambda x: (x * 1, x * 2),
        exact=lambda x: (x.double(), x.double() * 2),
        equal=equal.unordered(),
    )
    with pytest.raises(KgateError, match=r"^equal\.unordered\(\) takes an answer of one output, and this has 2\."):
        outcome(two.reference, two)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_element_that_changes_from_draw_to_draw_is_checked(shape):
    total = Problem(
        name="sum of all",
        inputs=lambda g: (torch.randn(500, generator=g),),
        reference=lambda x: x.sum().reshape(shape),
        exact=lambda x: x.double().sum().reshape(shape),
        equal=lambda answer, exact, x: bool((answer - exact).abs().max() < 1e-3),
    )
    found = outcome(lambda x: x.flip(0).sum().reshape(shape), total)
    assert not found.failed
    assert found.weak == ()


def test_one_element_that_stays_proves_nothing():
    same = Problem(
        name="count",
        inputs=lambda g: (torch.randn(500, generator=g),),
        reference=lambda x: x.isfinite().sum(),
        exact=lambda x: x.double().isfinite().sum(),
        equal=lambda answer, exact, x: bool(answer == exact),
    )
    assert outcome(lambda x: x.new_full((), 500).long(), same).weak == ("one number everywhere", "a remembered answer")


def test_values_with_places_are_held_by_the_whole_check():
    largest = dataclasses.replace(
        ARGMAX, name="largest", reference=lambda x: x.max(-1), exact=lambda x: tuple(x.double().max(-1))
    )
    places = outcome(lambda x: (x.amax(-1), last_argmax(x)), largest)
    assert not places.failed, places.reason
    assert not places.weak
    assert outcome(lambda x: (x.amax(-1) * 0, last_argmax(x)), largest).failed == "equal"


def test_no_error_is_told_where_equal_refuses():
    """The answer is finite, and how far it is from one of several right ones says nothing."""
    found = outcome(lambda x: x.argmin(-1), ARGMAX).to_dict()
    assert [found["candidate_error"], *(draw["candidate_error"] for draw in found["draws"])] == [0.0] * 6
    assert all(draw["excess"] is None for draw in found["draws"])
