"""An exact answer that is coarse or random lets wrong candidates pass, unless it is refused."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate import Problem
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import ProblemError


def scaled(x):
    return x * 1.1


def outcome(candidate, exact, reference=scaled, dtype=torch.float32):
    problem = Problem("scaled", lambda g: (torch.randn(64, 65, generator=g).to(dtype),), reference, exact)
    arms = [bind(role, one, {}) for role, one in (("candidate", candidate), ("reference", reference))]
    return check(HostDevice(), problem, *arms, None, 42)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.int64], ids=str)
def test_coarser_type_than_the_output_s_is_refused(kind):
    said = str(kind).removeprefix("torch.")
    with pytest.raises(ProblemError, match=f"exact returns {said} for an output of float32: it is no finer than what"):
        outcome(lambda x: x * 1.1 * (1 + 3e-3), lambda x: (x * 1.1).to(kind))


def test_coarse_type_that_holds_the_answer_is_taken():
    def mask(x):
        return (x > 0).float()

    found = outcome(lambda x: x.sign().relu(), lambda x: x > 0, mask)
    assert not found.failed
    assert outcome(lambda x: (x > 0.1).float(), lambda x: x > 0, mask).failed == "tolerance"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e5m2], ids=str)
def test_float32_is_fine_enough_for_narrow_outputs(dtype):
    def narrow(x):
        return (x.float() * 1.1).to(dtype)

    found = outcome(narrow, lambda x: x.float() * 1.1, narrow, dtype)
    assert (found.failed, found.coarse_exact) == ("", "")


def test_forgotten_double_is_warned_of_where_float64_makes_another_answer_of_it():
    def summed(x):
        return (x + 1e4) - 1e4

    found = outcome(summed, summed, summed)
    assert found.coarse_exact.startswith("exact returns float32 for an output of that type, and is off by ")
    assert found.coarse_exact.endswith("Compute it in float64: x.double()")


def in_float32_alone(x):
    return ((x.view(torch.int32) & -1024).view(torch.float32) + 1e4) - 1e4


def raises_in_float64(x):
    assert x.dtype is torch.float32
    return in_float32_alone(x)


@pytest.mark.parametrize(
    "function", [torch.relu, lambda x: x.clone(), raises_in_float64], ids=["relu", "copy", "alone"]
)
def test_the_output_s_own_type_is_taken_where_nothing_finer_can_be_had(function):
    found = outcome(function, function, function)
    assert (found.failed, found.coarse_exact) == ("", "")


@pytest.mark.parametrize("noise", [1e-6, 0.02, 0.2])
def test_random_exact_answer_is_told(noise):
    generator = torch.Generator().manual_seed(7)
    with pytest.raises(ProblemError, match="The problem's exact does not repeat"):
        outcome(lambda x: x * 1.11, lambda x: x.double() * 1.1 + torch.randn(64, 65, generator=generator) * noise)


def test_another_order_of_sums_is_no_other_answer():
    turns = iter(range(1000))
    found = outcome(
        lambda x: x.sum(-1),
        lambda x: (x.double().flip(-1) if next(turns) % 2 else x.double()).sum(-1),
        lambda x: x.sum(-1),
    )
    assert not found.failed


def test_large_exact_answers_are_not_computed_once_more():
    calls = []

    def exact(x):
        calls.append(1)
        return x.double()

    def draw(g):
        return (torch.rand(2**10, 2**9 + 1, generator=g),)

    problem = Problem("large", draw, torch.clone, exact)
    check(HostDevice(), problem, bind("candidate", torch.clone, {}), bind("reference", torch.clone, {}), None, 42)
    assert len(calls) == 5
