"""Timers of a GPU, on a stand-in for its context: calls that need a forward pass find that of the values they get."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from stand_in_gpu import Event
from stand_in_gpu import stand_in_gpu

from pytest_kgate import Backward
from pytest_kgate import Problem
from pytest_kgate.bench.correctness.problem_calls import reference_output
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.device.arm import bind
from pytest_kgate.device.cuda.timers.eager import EagerStopwatch
from pytest_kgate.device.cuda.timers.queue import QueueStopwatch
from pytest_kgate.device.host import HostDevice
from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.integrity.checks.of_call import IntegrityChecks
from pytest_kgate.integrity.isolation.reference_row import reference_row
from pytest_kgate.integrity.side_effects.memories.memoization import time_calls

TIMERS = {
    "queue": lambda device, *race: QueueStopwatch(device, *race, "hot", reference_by_graph=False),
    "queue, cold": lambda device, *race: QueueStopwatch(device, *race, "cold", reference_by_graph=False),
    "eager": lambda device, *race: EagerStopwatch(device, *race, "hot"),
    "wall": lambda device, *race: HostDevice().stopwatch(*race, timer="wall", cache="hot"),
}


class Forward:
    """Layer normalisation and cross-entropy, with a count of the forward passes."""

    __name__ = "layer_norm"

    def __init__(self):
        self.passes = 0

    def __call__(self, x, weight, target):
        self.passes += 1
        return F.cross_entropy(F.layer_norm(x, x.shape[-1:], weight), target)


def problem():
    return Problem(
        name="norm and cross-entropy",
        inputs=lambda g: (
            torch.randn(9, 24, generator=g),
            torch.randn(24, generator=g),
            torch.randint(0, 24, (9,), generator=g),
        ),
        reference=Forward(),
        exact=lambda x, weight, target: F.cross_entropy(F.layer_norm(x, x.shape[-1:], weight), target),
    ).backward()


@pytest.fixture
def device(monkeypatch):
    return stand_in_gpu(monkeypatch)


def race_of(forward, of_candidate=True):
    """Both arms and the workload; the candidate by autograd as well, or written by hand."""
    ours = problem()
    candidate = Backward(forward) if of_candidate else lambda *inputs: Backward(Forward())(*inputs)
    arms = [bind("candidate", candidate, {}), bind("reference", Backward(forward), {})]
    return arms, workload_of(ours, HostDevice(), reference_output(HostDevice(), ours, arms[1]))


def demand_right(answers, workload):
    assert answers
    for seed, answer in answers:
        for one, right in zip(answer, Backward(Forward())(*workload.draw(seed)), strict=True):
            torch.testing.assert_close(one, right)


@pytest.mark.parametrize(("timer", "of_candidate"), [*((timer, True) for timer in TIMERS), ("queue", False)])
def test_timed_calls_return_the_gradients_of_the_values_that_were_written(device, timer, of_candidate):
    arms, workload = race_of(Forward(), of_candidate)
    stopwatch = TIMERS[timer](device, arms, workload)
    for probes in ((3, 4, 5), (6, 7, 8)):
        found = stopwatch.round(RoundSeeds(1, 2, probes), np.repeat(np.arange(2), 2))
        demand_right(found.probe.answers, workload)


@pytest.mark.parametrize("timer", ["queue", "queue, cold", "eager"])
def test_no_forward_pass_is_within_a_timed_interval(device, timer, monkeypatch):
    forward = Forward()
    timed = []

    class Counting(Event):
        def record(self, stream=None):
            super().record(stream)
            self.passes = forward.passes

        def elapsed_time(self, end):
            timed.append(end.passes - self.passes)
            return super().elapsed_time(end)

    monkeypatch.setattr(torch.cuda, "Event", Counting)
    arms, workload = race_of(forward)
    stopwatch = TIMERS[timer](device, arms, workload)
    stopwatch.round(RoundSeeds(1, 2), np.repeat(np.arange(2), 3))
    assert len(timed) >= 6  # the samples, and what it takes to plan them: on a busy machine that is less
    assert not any(timed)


def test_memory_check_times_gradients_of_the_values_that_it_writes(device):
    arms, workload = race_of(Forward())
    _, inputs, answer = time_calls(HostDevice(), arms[0], workload, lambda number: 50 + number, 1e-3)
    for one, right in zip(answer, Backward(Forward())(*inputs), strict=True):
        torch.testing.assert_close(one, right)


def test_reference_beside_an_isolated_candidate_has_its_forward_pass_before_each_row(device):
    forward = Forward()
    arms, workload = race_of(forward)
    sets = [(workload.draw(seed), [None]) for seed in (1, 2)]
    with reference_row(HostDevice(), arms[1], sets, 4) as row:
        before = forward.passes
        row.seconds()
        assert forward.passes - before == 1 + len(sets)  # one in the untimed call, which finds nothing prepared
        row.seconds()
        assert forward.passes - before == 1 + 2 * len(sets)


def test_kernels_of_a_call_are_those_of_its_backward_pass():
    arms, workload = race_of(Forward())
    checks = IntegrityChecks(arms[0], HostDevice(), problem(), on=True, own=True, says=["any"])
    checks.observe(workload, lambda number: number, "wall", "hot", np.array([1e-3]), lambda inputs, answer: None)
    assert "aten::native_layer_norm_backward" in checks.of_candidate.kernels
    assert "aten::native_layer_norm" not in checks.of_candidate.kernels
