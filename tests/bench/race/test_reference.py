"""Which reference is raced: the problem's own, whatever its name; one that writes to `out` too."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import pytest
import torch

from pytest_kgate import Problem
from pytest_kgate import Shape
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.race.reference import ReferencePicker
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.statistics.gates import Verdict


def scaling(factor, name="scale"):
    return Problem(
        name,
        inputs=lambda g: (torch.randn(64, 64, generator=g),),
        reference={"mul": lambda x: x * factor, "add": lambda x: x * factor + 0.0},
        exact=lambda x: x.double() * factor,
    )


def pick(picker, problem):
    return picker.pick(problem, HostDevice(), "wall", "hot")


def answer(reference):
    return float(reference.arm.call((torch.ones(1),), None))


def test_problems_of_one_name_have_their_own_references():
    picker = ReferencePicker()
    assert [answer(pick(picker, problem)) for problem in (scaling(2), scaling(3), scaling(2))] == [2, 3, 2]


def test_a_problem_that_several_tests_ask_for_is_raced_once():
    picker = ReferencePicker()
    first, again = (pick(picker, sdpa_problem(Shape(1, 1, 8, 8), "float32", seed=seed)).choices for seed in (None, 7))
    assert first is again
    assert pick(picker, sdpa_problem(Shape(1, 1, 16, 8), "float32")).choices is not first


def test_choices_keep_no_problem_alive():
    picker = ReferencePicker()
    problem = scaling(torch.ones(64))
    pick(picker, problem)
    kept = weakref.ref(problem.reference["mul"])
    del problem
    gc.collect()
    assert kept() is None


def test_problem_without_a_name_is_picked_for():
    assert pick(ReferencePicker(), scaling(2, name="")).name in ("mul", "add")


def does_not_apply(*inputs, **params):
    raise RuntimeError("not for this GPU")


def test_reference_of_ones_own_that_does_not_run_is_told_of():
    problem = replace(scaling(2), reference={"mul": lambda x: x * 2, "rival": does_not_apply})
    found = pick(ReferencePicker(), problem)
    assert found.backend == "mul"
    assert found.warnings == [
        "the candidate was not raced against rival: The reference raised RuntimeError: not for this GPU"
    ]


def backward(problem):
    return problem.backward()


@pytest.mark.parametrize("of", [lambda problem: problem, backward], ids=["forward", "backward"])
def test_backends_of_attention_need_not_apply(monkeypatch, of):
    attention = sdpa_problem(Shape(1, 1, 8, 8), "float32")
    does = attention.reference["math"]
    monkeypatch.setattr(does_not_apply, "__module__", does.__module__)
    found = pick(ReferencePicker(), of(replace(attention, reference={"math": does, "cudnn": does_not_apply})))
    assert (found.backend, list(found.refused), found.warnings) == ("math", ["cudnn"], [])


def old(x, out):
    out.copy_(torch.relu(x))


def test_reference_that_writes_to_an_output_gets_one():
    problem = Problem(
        "relu",
        inputs=lambda g: (torch.randn(64, 64, generator=g).half(), 1.0, [None]),
        reference=lambda x, alpha, rest, out: old(x, out),
        exact=lambda x, alpha, rest: torch.relu(x.double()),
    )
    arms = bind("candidate", lambda x, alpha, rest: torch.relu(x), {}), bind("reference", problem.reference, {})
    result = check(HostDevice(), problem, *arms, None, 1)
    assert (result.verdict, result.like.dtype) == (Verdict.PASS, torch.float16)
