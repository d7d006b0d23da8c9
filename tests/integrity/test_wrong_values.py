"""Timed launches that leave a wrong answer: whether the values are to blame, or how the call was made."""

from __future__ import annotations

import dataclasses
import threading
import time

import numpy as np
import pytest
import torch
from sample_records import invalid_record

from pytest_kgate import Problem
from pytest_kgate import evaluate
from pytest_kgate.bench.correctness.check import Verification
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.comparison.draws import draws_of
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.bench.race.probes import Probes
from pytest_kgate.bench.race.probes import work_undone
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.device.protocol import FirstLook
from pytest_kgate.device.protocol import Probe
from pytest_kgate.report.text.hints import hints

pytestmark = pytest.mark.usefixtures("one_thread")

LOOK = FirstLook(0.0, (0.0,))
TIED = 7
"""The seed of a draw with two equal elements at the border of the two largest."""

BY_VALUES = "on values drawn for the race its answer is wrong, in a timed launch and in a call alone: "
BY_LAUNCH = "a timed launch left another answer than the checked ones: "


def draw(generator):
    values = torch.randperm(64, generator=generator).float()
    if generator.initial_seed() == TIED:
        values = torch.where(values == 61, 62, values)
    return (values,)


def largest(x):
    """The two largest, and their places: of two that are equal, the first one's."""
    values, places = x.sort(descending=True, stable=True)
    return values[:2].clone(), places[:2].clone()


def largest_from_the_end(x):
    """The same where no two are equal, and of two that are, the last one's place."""
    values, places = largest(x.flip(0))
    return values, len(x) - 1 - places


TOPK = Problem("topk", draw, reference=largest, exact=lambda x: (largest(x)[0].double(), largest(x)[1]))


def reason(candidate, timed, problem=TOPK, seed=TIED):
    """Why a race is invalid in which `timed` gave the answers; the check and all other calls had `candidate`."""
    device = HostDevice()
    arms = [bind(role, one, {}, problem.mutates) for role, one in (("candidate", candidate), ("r", problem.reference))]
    correctness = check(device, problem, *arms, None, 42)
    assert not correctness.failed, correctness.reason
    workload = workload_of(problem, device, correctness.like)
    probes = Probes()
    answer = bind("candidate", timed, {}, problem.mutates).call(workload.draw(seed), None)
    probes.add(Probe(((seed, answer),), (LOOK, LOOK)))
    verify = Verification(device, problem, correctness)
    none = torch.zeros(1, 1).numpy()
    no_rows = np.empty((0, 2))
    return work_undone(device, arms[0], probes, (none, none), int, lambda new: None, None, no_rows, workload, verify)


def test_answer_that_is_wrong_on_its_values_in_any_call_is_not_said_to_change():
    found = reason(largest_from_the_end, largest_from_the_end)
    assert found.startswith(f"{BY_VALUES}output 1, integers off by ")
    said = " ".join(hints({**invalid_record(), "reason": found}))
    assert "`hard_inputs`" in said
    assert "Problem(equal=pytest_kgate.equal.ties())" in said
    assert "__syncthreads" not in said


def test_answer_that_only_a_timed_launch_has_wrong_is_said_to_change():
    found = reason(largest, largest_from_the_end)
    assert found.startswith(f"{BY_LAUNCH}output 1, integers off by ")
    assert "The answer changes from launch to launch" in hints({**invalid_record(), "reason": found})[0]


@pytest.mark.parametrize("period", [1, 2, 3, 4, -2, -3, -4])
def test_work_that_is_left_out_by_the_number_of_calls_is_the_launch_s_fault(period):
    """A negative one: work that is done every so many calls alone."""
    calls = 0

    def skips(x):
        return x[:2].clone(), torch.zeros(2, dtype=torch.int64)

    def now_and_then(x):
        nonlocal calls
        calls += 1
        return largest(x) if calls <= 5 or (calls % period > 0) is (period > 0) else skips(x)

    assert reason(now_and_then, skips, seed=8).startswith(BY_LAUNCH)


def test_work_that_a_thread_does_after_the_call_is_the_launch_s_fault():
    """As a busy machine may have it: late where the values of the race are drawn, in time where the check's are."""
    calls = 0

    def later(values, places, x):
        start = time.perf_counter()
        while time.perf_counter() - start < 0.02:
            pass
        for out, right in zip((values, places), largest(x), strict=True):
            out.copy_(right)

    def in_a_thread(x):
        nonlocal calls
        calls += 1
        late = calls in (6, 7, 10)
        answer = [part.zero_() if late else part for part in largest(x)]
        if late:
            threading.Thread(target=later, args=(*answer, x)).start()
        return tuple(answer)

    assert reason(in_a_thread, largest_from_the_end).startswith(BY_LAUNCH)


def test_one_remembered_answer_is_the_launch_s_fault():
    answers = []

    def replays(x):
        answers.append(largest(x))
        return answers[-1] if len(answers) <= 5 else answers[0]

    assert reason(replays, lambda x: answers[0], seed=8).startswith(BY_LAUNCH)


def test_candidate_that_works_in_place_is_called_on_values_that_it_has_not_changed():
    def double(x):
        x.add_(x)

    def double_but_61(x):
        x.add_(torch.where((x == 62).sum() > 1, 0, x))

    problem = dataclasses.replace(TOPK, reference=double, exact=lambda x: 2 * x.double(), mutates=(0,))
    assert reason(double_but_61, double_but_61, problem).startswith(BY_VALUES)
    assert reason(double, double_but_61, problem).startswith(BY_LAUNCH)


@pytest.mark.parametrize("device", ["host", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_gate_whose_race_draws_ties_says_so(device):
    checked = {seed for _, seed in draws_of(1)}

    def with_ties(generator):
        values = torch.randperm(4096, generator=generator, device=generator.device).float()
        if generator.initial_seed() not in checked:
            values = torch.where(values == 4093, 4094, values)
        return (values,)

    problem = dataclasses.replace(TOPK, inputs=with_ties)
    record = evaluate(largest_from_the_end, problem, 2.0, device=device, seed=1, budget=2.0, foreign_load="warn")
    assert record["verdict"] == "INVALID"
    assert record["reason"].startswith(f"{BY_VALUES}output 1, integers off by ")
