"""Dropout: what is dropped is random in each call and everywhere in it, and PyTorch's own is never refused."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pytest_kgate import Problem
from pytest_kgate.bench.correctness.check import Verification
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.processes.clean.problem.rebuild import rebuilt
from pytest_kgate.bench.processes.clean.problem.recipe import recipe_of
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import UsageError
from pytest_kgate.problems import equal


@pytest.fixture(autouse=True)
def _seeded():
    state = torch.get_rng_state()
    torch.manual_seed(5)
    yield
    torch.set_rng_state(state)


def said(answer, x, p):
    return equal.dropout(p)(answer, None, x)


def problem_of(p, *shape):
    return Problem(
        name="dropout",
        inputs=lambda g: (torch.randn(*shape, generator=g),),
        reference=lambda x: F.dropout(x, p),
        exact=lambda x: x.double(),
        equal=equal.dropout(p),
    )


def outcome(candidate, p, *shape):
    problem = problem_of(p, *shape)
    arms = bind("candidate", candidate, {}), bind("reference", problem.reference, {})
    return check(HostDevice(), problem, *arms, None, 42)


def of_a_mask(kept, p):
    return lambda x: x * kept / (1 - p)


def seeded(x):
    kept = torch.rand(x.shape, generator=torch.Generator().manual_seed(7)) >= 0.25
    return x * kept / 0.75


@pytest.mark.parametrize(
    ("candidate", "p", "shape"),
    [
        (of_a_mask(torch.rand(64, 256, generator=torch.Generator().manual_seed(1)) >= 0.25, 0.25), 0.25, (64, 256)),
        (seeded, 0.25, (64, 256)),
        (seeded, 0.25, (100,)),
    ],
    ids=["mask made once", "seed that stays", "seed that stays, a short vector"],
)
def test_mask_that_stays_from_call_to_call_is_wrong(candidate, p, shape):
    found = outcome(candidate, p, *shape)
    assert found.failed == "equal"
    assert "of the elements that were dropped there, 100 % are dropped, and 0 % of the others" in found.reason
    assert "draw a seed anew for each call" in found.reason


def test_two_masks_in_turn_are_wrong():
    kept = torch.rand(2, 64, 64) >= 0.5
    calls = []

    def alternates(x):
        calls.append(x)
        return x * kept[len(calls) % 2] * 2

    assert outcome(alternates, 0.5, 64, 64).failed == "equal"


def test_masks_cut_out_of_one_that_was_made_once_are_wrong():
    kept = torch.rand(3 * 64 * 256) >= 0.25

    def cut_out(x):
        start = int(torch.randint(2 * 64 * 256, ()))
        return x * kept[start : start + x.numel()].view_as(x) / 0.75

    found = outcome(cut_out, 0.25, 64, 256)
    assert found.failed == "equal"
    assert "places from there" in found.reason


def test_masks_in_turn_of_which_there_are_more_than_calls_of_a_check_are_found_among_timed_calls():
    kept = torch.rand(16, 64, 64) >= 0.5
    calls = []

    def in_turn(x):
        calls.append(x)
        return x * kept[len(calls) % 16] * 2

    problem, found = problem_of(0.5, 64, 64), outcome(in_turn, 0.5, 64, 64)
    assert not found.failed
    verify = Verification(HostDevice(), problem, found)
    draws = [problem.inputs(torch.Generator().manual_seed(seed)) for seed in range(20)]
    wrong = [verify(inputs, in_turn(*inputs)) for inputs in draws]
    assert "100 % are dropped" in next(said for said in wrong if said)


def test_timed_calls_with_a_seed_that_comes_again_may_drop_the_same():
    def from_seed(x, seed):
        return x * (torch.rand(x.shape, generator=torch.Generator().manual_seed(int(seed))) >= 0.5) * 2

    def draw(g):
        return torch.randn(64, 64, generator=g), torch.randint(2**31, (), generator=g)

    problem = dataclasses.replace(problem_of(0.5), inputs=draw, reference=from_seed, exact=lambda x, seed: x.double())
    found = check(HostDevice(), problem, bind("candidate", from_seed, {}), bind("reference", from_seed, {}), None, 42)
    verify = Verification(HostDevice(), problem, found)
    x, seed = draw(torch.Generator().manual_seed(1))
    assert [verify(inputs, from_seed(*inputs)) for inputs in ((x, seed), (x + 1, seed))] == [None, None]
    assert verify((x, seed + 1), from_seed(x, seed)) is not None


def test_calls_of_pytorch_differ():
    for p in (0.1, 0.5, 0.9):
        assert not outcome(lambda x, p=p: F.dropout(x, p), p, 64, 100).failed


@pytest.mark.parametrize(
    "kept",
    [
        torch.arange(4096) >= 2048,
        torch.arange(4096) % 2 == 0,
        torch.arange(4096) // 16 % 2 == 0,
        torch.arange(4096) * 7 % 8 < 4,
        (torch.rand(64, generator=torch.Generator().manual_seed(2)) >= 0.5).repeat(64),
        torch.cat([torch.rand(4032, generator=torch.Generator().manual_seed(4)) >= 0.5, torch.ones(64, dtype=bool)]),
    ],
    ids=["first half", "every other", "runs", "pattern", "the same in each block", "the last 64 never"],
)
def test_pattern_in_a_vector_is_wrong(kept):
    x = torch.randn(4096)
    assert said(x * kept * 2, x, 0.5)


@pytest.mark.parametrize("repeats", [(1, 16), (4, 1), (64, 1)])
def test_mask_that_repeats_within_is_wrong(repeats):
    x = torch.randn(64, 256)
    kept = torch.rand(64 // repeats[0], 256 // repeats[1]) >= 0.25
    assert said(x * kept.repeat(repeats) / 0.75, x, 0.25)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (33,), (4096,), (130, 5), (3, 7, 70)])
def test_pytorchs_own_passes_whatever_its_shape_and_type(shape):
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for p in (0.0, 0.01, 0.3, 0.9, 1.0):
            for scale in (1.0, 1e-6):
                x = (torch.randn(shape) * scale).to(dtype)
                assert said(F.dropout(x, p), x, p) == ""


def test_smallest_numbers_of_float16_may_be_off_by_one_of_them():
    x = torch.arange(-2048, 2049).to(torch.float64).mul(2.0**-24).half()  # all that are below the smallest normal one
    assert not said((x.float() / 0.9).half() * (torch.rand(4097) >= 0.1), x, 0.1)
    assert "neither 0 nor" in said((x.float() / 0.9 + 2.0**-22).half(), x, 0.1)


def test_what_is_too_large_for_its_type_is_infinite():
    x = torch.full((400,), 6e4).half()
    assert not said(F.dropout(x, 0.5), x, 0.5)
    assert said(torch.where(torch.rand(400) < 0.5, 0, math.nan).half(), x, 0.5)


def test_nothing_or_all_is_dropped():
    x = torch.randn(64, 64)
    assert said(x.clone(), x, 0.0) == ""
    assert "does not fit p = 0" in said(x * (torch.arange(64) > 0), x, 0.0)
    assert said(x * 0, x, 1.0) == ""
    assert "does not fit p = 1" in said(x * (torch.arange(64) > 62), x, 1.0)


def test_complex_numbers_are_dropped_whole():
    x = torch.randn(64, 64, dtype=torch.complex64)
    answer = x * (torch.rand(64, 64) >= 0.25) / 0.75
    assert not said(answer, x, 0.25)
    assert said(answer.real + 0j, x, 0.25)


def test_output_that_tells_what_is_kept():
    x = torch.randn(64, 64)
    output, kept = torch.native_dropout(x, 0.25, True)
    assert not said((output, kept), x, 0.25)
    kept[3, 4] ^= True
    assert "says of 1 elements" in said((output, kept), x, 0.25)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda x: (x, x), "the answer has 2 outputs: float32, float32"),
        (lambda x: x[:1], r"the answer is float32 of shape \(1, 8\)"),
        (lambda x: x.int(), "the answer is int32"),
    ],
)
def test_what_is_not_understood_is_told_of_the_problem(answer, why):
    x = torch.randn(8, 8)
    with pytest.raises(UsageError, match=why):
        said(answer(x), x, 0.25)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_what_is_no_probability_is_refused(p):
    with pytest.raises(UsageError, match="no probability"):
        equal.dropout(p)


def test_it_is_made_again_by_name_in_another_process():
    problem = Problem("dropout", torch.rand, F.dropout, torch.relu, equal=equal.dropout(0.25))
    made = rebuilt(recipe_of(problem, None, frozenset()))
    assert (made.equal.func, made.equal.args) == (problem.equal.func, problem.equal.args)
    x = torch.randn(64, 64)
    calls = equal.Calls(made.equal)
    assert [bool(calls.repeated(seeded(x), (x,))) for _ in range(2)] == [False, True]
