"""Isolated candidates take what others take: numbers, None and dicts among inputs, several outputs, inputs in place."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
import pytest
import torch

from pytest_kgate.bench.correctness.check import Verification
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.device.arm import InPlace
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.errors import CandidateError
from pytest_kgate.integrity.isolation.candidate import Isolation
from pytest_kgate.integrity.isolation.candidate_name import CandidateFunction
from pytest_kgate.integrity.isolation.shared_memory.layout import FILL
from pytest_kgate.integrity.isolation.shared_memory.layout import Layout
from pytest_kgate.integrity.isolation.shared_memory.messages import described
from pytest_kgate.integrity.isolation.shared_memory.messages import tree_of
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.trees import tree

pytestmark = pytest.mark.usefixtures("warm")

CANDIDATE = """
def step(x, state, hyper, bias):
    state["sum"].add_(x, alpha=hyper["scale"])
    return [x * hyper["scale"], state["sum"].argmax(-1)]

def wrong_on_some(x, state, hyper, bias):
    values, places = step(x, state, hyper, bias)
    return [values, places + 1 if x[0, 0] == 100 else places]

def careless(x, state, hyper, bias):
    x.mul_(2)
    return step(x, state, hyper, bias)
"""


def step(x, state, hyper, bias):
    state["sum"].add_(x, alpha=hyper["scale"])
    return x * hyper["scale"], state["sum"].argmax(-1)


def exact(x, state, hyper, bias):
    total = state["sum"].double() + x.double() * hyper["scale"]
    return x.double() * hyper["scale"], total.argmax(-1), total


PROBLEM = Problem(
    name="step",
    inputs=lambda g: (torch.randn(9, 40, generator=g), {"sum": torch.randn(9, 40, generator=g)}, {"scale": 0.5}, None),
    reference=step,
    exact=exact,
    mutates=(1,),
)


class Pair(NamedTuple):
    first: torch.Tensor
    second: float


def isolated(tmp_path, name):
    (tmp_path / "candidate.py").write_text(CANDIDATE)
    named = CandidateFunction.parse(f"candidate.py:{name}", (tmp_path,))
    seeds = [functools.partial(lambda base, row, call: base + 1000 * row + call, base) for base in (0, 10**6)]
    return Isolation(named, {}, *seeds, 0.1, HostDevice(), "auto", PROBLEM.mutates)


def with_a_scale_that_is_drawn(generator):
    x, state, _, bias = PROBLEM.inputs(generator)
    return x, state, {"scale": float(torch.rand((), generator=generator)) + 0.5}, bias


@pytest.mark.parametrize("inputs", [PROBLEM.inputs, with_a_scale_that_is_drawn], ids=["a number", "numbers drawn"])
def test_isolated_candidate_with_trees_in_and_out_is_checked_and_timed(tmp_path, inputs):
    problem = dataclasses.replace(PROBLEM, inputs=inputs)
    device, reference = HostDevice(), bind("reference", step, {}, PROBLEM.mutates)
    with isolated(tmp_path, "step") as isolation:
        found = check(device, problem, isolation.arm, reference, None, 42)
        assert not found.failed, found.reason
        workload = workload_of(problem, device, found.like)
        verify = Verification(device, problem, found)
        stopwatch = isolation.stopwatch(reference, workload, verify)
        stopwatch.round(RoundSeeds(1, 2), np.array([0, 1]))
        assert stopwatch.kept
        assert isolation.undone(workload, verify) is None


def test_isolated_candidate_that_is_wrong_on_values_of_the_race_is_called_alone_on_them(tmp_path):
    def draw(generator):
        x, *others = PROBLEM.inputs(generator)
        if generator.initial_seed() < 10**6:  # as those of its timed calls are
            x[0, 0] = 100
        return (x, *others)

    problem = dataclasses.replace(PROBLEM, inputs=draw)
    device, reference = HostDevice(), bind("reference", step, {}, PROBLEM.mutates)
    with isolated(tmp_path, "wrong_on_some") as isolation:
        found = check(device, problem, isolation.arm, reference, None, 42)
        assert not found.failed, found.reason
        workload, verify = workload_of(problem, device, found.like), Verification(device, problem, found)
        isolation.stopwatch(reference, workload, verify).round(RoundSeeds(1, 2), np.array([0, 1]))
        reason = isolation.undone(workload, verify)
    assert reason.startswith("on values drawn for the race its answer is wrong, in a timed launch and in a call alone")


def test_isolated_candidate_that_changes_what_it_may_not_is_told(tmp_path):
    reference = bind("reference", step, {}, PROBLEM.mutates)
    with isolated(tmp_path, "careless") as isolation, pytest.raises(CandidateError, match="changed its input 0"):
        check(HostDevice(), PROBLEM, isolation.arm, reference, None, 42)


def test_size_comes_as_one():
    (size,) = tree_of(described((torch.Size([2, 3]),), lambda _: False), iter(()).__next__)
    assert type(size) is torch.Size
    assert size.numel() == 6


def test_layout_has_all_that_inputs_hold_but_their_values():
    inputs = (Pair(torch.randn(3, 4).t(), 2.5), ["text", None, torch.empty(0, 3)], {"k": torch.arange(3)})
    answer = InPlace((torch.zeros(2), None), {2: inputs[2]})
    layout = Layout.from_dict(Layout.of(inputs, answer, 2).to_dict())
    block = torch.full((layout.nbytes,), FILL, dtype=torch.uint8)
    found, out = layout.views(block, 1)
    tree.write(found, inputs)
    assert found[0].first.stride() == (1, 4)
    assert torch.equal(found[0].first, inputs[0].first)
    assert (found[0].second, found[1][:2], found[1][2].shape) == (2.5, ["text", None], (0, 3))
    assert out.changed[2] is found[2]
    assert out.returned[0].shape == (2,)
    assert len(layout.columns(block)) == 2
