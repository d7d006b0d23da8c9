"""A reference that answers new values by what it has answered before would be timed as a look for its answer."""

from __future__ import annotations

import functools

import pytest
import torch

from pytest_kgate.bench.correctness.check import check
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import ProblemError
from pytest_kgate.problems.problem import Problem
from pytest_kgate.statistics.gates import Verdict


def relu(x):
    return torch.relu(x)


class Remembers:
    def __init__(self):
        self.kept = {}

    def __call__(self, x):
        return self.kept.setdefault(id(x), torch.relu(x))


def into_one_buffer(x, kept=[]):  # noqa: B006
    if not kept:
        kept.append(torch.empty_like(x))
    return torch.relu(x).clone() if kept[0].shape != x.shape else kept[0].copy_(torch.relu(x))


def always_the_same(x):
    return (x > 10).to(x.dtype)


def checked(reference, exact=lambda x: torch.relu(x.double()), **more):
    draw = more.pop("inputs", lambda g: (torch.randn(8, 16, generator=g, device=g.device),))
    problem = Problem("relu", draw, reference, exact, **more)
    arms = [
        bind(role, function, {}, problem.mutates) for role, function in (("candidate", relu), ("reference", reference))
    ]
    return check(HostDevice(), problem, *arms, None, 1)


@pytest.mark.parametrize(
    "reference",
    [functools.lru_cache(relu), functools.partial(functools.lru_cache(relu)), Remembers()],
    ids=["lru_cache", "partial", "by id"],
)
def test_reference_that_keeps_its_answers_is_refused(reference):
    with pytest.raises(
        ProblemError, match="keeps its answers: new values in the same tensors got the answer to the ol"
    ):
        checked(reference)


def test_reference_that_writes_all_answers_to_one_buffer_keeps_none():
    assert checked(into_one_buffer).verdict is Verdict.PASS


def test_reference_whose_answer_does_not_depend_on_its_inputs_keeps_none():
    found = checked(always_the_same, lambda x: (x > 10).double())
    assert found.failed or found.verdict is Verdict.PASS


def test_inputs_are_as_drawn_when_the_answer_is_compared():
    """`equal` sees the inputs, too."""

    def equal(answer, exact, x):
        return bool(torch.allclose(answer.double(), torch.relu(x.double())))

    assert checked(relu, equal=equal).verdict is Verdict.PASS
