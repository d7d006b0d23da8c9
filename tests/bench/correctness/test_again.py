"""A wrong candidate that answers the same inputs otherwise when it is called again is told so, and how often."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate import Problem
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.comparison.where import varying_fraction
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import CandidateError
from pytest_kgate.statistics.gates import ErrorGate

PROBLEM = Problem(
    name="doubled",
    inputs=lambda generator: (torch.randn(64, 64, generator=generator),),
    reference=lambda x: 2 * x,
    exact=lambda x: 2 * x.double(),
)


def dropped(x):
    return torch.nn.functional.dropout(2 * x, 0.25)


def tripled(x):
    return 3 * x


@pytest.mark.parametrize(("candidate", "least", "most"), [(dropped, 0.2, 0.9), (tripled, 0.0, 0.0)])
def test_wrong_answers_are_compared_with_those_of_a_second_call(candidate, least, most):
    torch.manual_seed(42)
    arms = bind("candidate", candidate, {}), bind("reference", PROBLEM.reference, {})
    found = check(HostDevice(), PROBLEM, *arms, ErrorGate(1e-5), 42)
    assert least <= found.worst["varying_fraction"] <= most


@pytest.mark.parametrize(
    ("first", "second", "share"),
    [
        (torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 2.0 + 1e-6, 3.5, 4.0]), 0.25),
        (torch.tensor([1.0, float("nan")]), torch.tensor([1.0, float("nan")]), 0.0),
        (torch.tensor([1.0, float("inf")]), torch.tensor([float("nan"), float("inf")]), 0.5),
        (torch.tensor([True, False]), torch.tensor([True, True]), 0.5),
        (torch.tensor([1, 2, 3]), torch.tensor([1, 2, 4]), 1 / 3),
        (torch.tensor([1 + 1j, 2]), torch.tensor([1 - 1j, 2]), 0.5),
        (torch.tensor([1.0, 2.0]).half(), torch.tensor([1.0, 2.5]).half(), 0.5),
        (torch.tensor(1.0), torch.tensor(2.0), 1.0),
        (torch.zeros(0), torch.zeros(0), 0.0),
        (torch.zeros(2), torch.zeros(3), 0.0),
        (torch.zeros(2), None, 0.0),
    ],
)
def test_share_of_elements_that_differ(first, second, share):
    assert varying_fraction("output", first, lambda: second, 1e-5) == pytest.approx(share)


def test_second_call_that_gives_no_answer_says_nothing():
    def raises():
        raise CandidateError("No.", "Nothing.")

    assert varying_fraction("output", torch.zeros(2), raises, 0.0) == 0.0
