"""Calls that change inputs in place: each of a row finds the values that were drawn, and its answer is checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.problem_calls import reference_output
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.device.rows import PutBack
from pytest_kgate.device.rows import TimedInterval
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import TimingError
from pytest_kgate.problems.problem import Problem


def draw(g):
    return torch.randn(64, generator=g), {"state": torch.randn(3, 64, generator=g)[:, ::2]}


def step_(x, state):
    state["state"].mul_(x[::2]).add_(1)


def problem(function=step_):
    return Problem(
        name="step",
        inputs=draw,
        reference=function,
        exact=lambda x, state: state["state"].double() * x[::2].double() + 1,
        mutates=(1,),
    )


def a_round(function, probes=(3, 4, 5)):
    """One round of a race of a function against itself on the host."""
    device = HostDevice()
    arms = [bind(role, function, {}, (1,)) for role in ("candidate", "reference")]
    like = reference_output(device, problem(function), arms[1])
    workload = workload_of(problem(function), device, like)
    stopwatch = device.stopwatch(arms, workload, timer="wall", cache="hot")
    return workload, stopwatch.round(RoundSeeds(1, 2, probes), np.repeat(np.arange(2), 2))


def test_answers_of_timed_calls_in_place_are_those_to_the_values_that_were_drawn():
    workload, found = a_round(step_)
    for seed, answer in found.probe.answers:
        x, state = workload.draw(seed)
        step_(x, state)
        assert torch.equal(answer.changed[1]["state"], state["state"])
        assert answer.returned is None


def test_input_that_only_timed_calls_change_is_still_found():
    calls = []

    def late(x, state):
        calls.append(1)
        step_(x, state)
        if len(calls) > 8:
            x.add_(1)

    with pytest.raises(TimingError, match="Input 0 was changed in timed calls"):
        a_round(late, probes=())


def test_each_call_of_a_row_has_inputs_of_its_own_that_are_put_back():
    inputs = draw(torch.Generator().manual_seed(1))
    put_back = PutBack(inputs, (1,), calls=4, most_bytes=2**20)
    assert len(put_back.sets) == 4
    assert all(one[0] is inputs[0] for one in put_back.sets)
    original = inputs[1]["state"].clone()
    assert len({one[1]["state"].data_ptr() for one in put_back.sets}) == 4
    assert {one[1]["state"].stride() for one in put_back.sets} == {(64, 2)}
    (interval,) = put_back.before([TimedInterval((0, 1), lambda: None)])
    for one in put_back.sets:
        one[1]["state"].zero_()
    interval.before()
    assert all(torch.equal(one[1]["state"], original) for one in put_back.sets)


def test_large_inputs_share_fewer_copies():
    inputs = draw(torch.Generator().manual_seed(1))
    assert len(PutBack(inputs, (1,), calls=100, most_bytes=2000).sets) == 2


def test_keys_of_a_dict_may_come_in_any_order_in_timed_calls():
    def reference(x):
        return {"double": x * 2, "sum": x.sum()}

    def candidate(x):
        return {"sum": x.sum(), "double": x * 2}

    device = HostDevice()
    doubled = Problem("dict", lambda g: (torch.randn(64, generator=g),), reference, lambda x: reference(x.double()))
    arms = [bind("candidate", candidate, {}), bind("reference", reference, {})]
    workload = workload_of(doubled, device, reference_output(device, doubled, arms[1]))
    stopwatch = device.stopwatch(arms, workload, timer="wall", cache="hot")
    found = stopwatch.round(RoundSeeds(1, 2, (3, 4, 5)), np.repeat(np.arange(2), 2))
    for seed, answer in found.probe.answers:
        assert torch.equal(answer["double"], reference(*workload.draw(seed))["double"])


@dataclass
class Step:
    state: torch.Tensor
    norm: torch.Tensor


@pytest.mark.parametrize("returned", [lambda x, n: {"n": n, "x": x}, lambda x, n: (x, [n]), Step])
def test_changed_input_that_is_returned_among_others_is_judged_once(returned):
    def normed_(x):
        norm = x.norm()
        return returned(x.div_(norm), norm)

    def exact(x):
        return x.double().norm(), x.double() / x.double().norm()

    normalise = Problem("normalise", lambda g: (torch.randn(64, generator=g),), normed_, exact, mutates=(0,))
    arms = [bind(role, normed_, {}, (0,)) for role in ("candidate", "reference")]
    found = check(HostDevice(), normalise, *arms, None, 42)
    assert not found.failed, found.reason
    assert len(found.outputs) == 2


@pytest.mark.parametrize(
    "returned",
    [lambda x: x, lambda x: x.data, lambda x: x.detach(), lambda x: x.view_as(x), lambda x: None],
    ids=["itself", "data", "detached", "a view", "nothing"],
)
def test_changed_input_that_is_returned_by_another_tensor_is_no_output_of_its_own(returned):
    doubling = Problem(
        name="doubling",
        inputs=lambda g: (torch.nn.Parameter(torch.randn(64, generator=g)),),
        reference=lambda x: x.data.mul_(2),
        exact=lambda x: x.detach().double() * 2,
        mutates=(0,),
    )

    def candidate(x):
        with torch.no_grad():
            x.mul_(2)
        return returned(x)

    arms = [bind("candidate", candidate, {}, (0,)), bind("reference", doubling.reference, {}, (0,))]
    assert not check(HostDevice(), doubling, *arms, None, 42).failed
    half = bind("candidate", lambda x: x.data.mul_(2)[:32], {}, (0,))
    with pytest.raises(CandidateError, match="returned a Tensor of its own, and the problem asks for nothing but"):
        check(HostDevice(), doubling, half, arms[1], None, 42)
