"""Rows of a probed round, on the CPU: new values right before a turn, and something between calls."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from pytest_kgate.device import probe_rows as module
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.probe_rows import ProbeRows
from pytest_kgate.device.protocol import Workload
from pytest_kgate.device.rows import LONG
from pytest_kgate.device.rows import TimedInterval
from pytest_kgate.device.rows import by_turn
from pytest_kgate.device.rows import in_a_row
from pytest_kgate.device.rows import plain_row

SEEDS = (100, 101, 102)
LENGTH = 5

WORKLOAD = Workload(lambda seed: (torch.full((4,), float(seed)),), lambda inputs: torch.full_like(inputs[0], torch.nan))


def honest(inputs, output):
    return output.copy_(2 * inputs[0])


def early():
    """Works on what lay in its inputs when the call before it began."""
    seen = []

    def call(inputs, output):
        seen.append(inputs[0].clone())
        return output.copy_(2 * seen[max(0, len(seen) - 2)])

    return call


def probed(candidate, rng_seed=1, fence=None, seconds=lambda interval: 1.0):
    """A round of two samples an arm and the rows among them, run; what the rows were, and the probe."""
    arms = (Arm("candidate", candidate, True), Arm("reference", honest, True))
    inputs = WORKLOAD.draw(0)
    sets = [(inputs, [torch.empty(4), torch.empty(4)])]
    rows = {(arm, LONG): in_a_row(by_turn(arms, arm, sets), LENGTH) for arm in range(2)}
    launches = ProbeRows(arms, WORKLOAD, sets, np.random.default_rng(rng_seed), SEEDS)
    samples = [TimedInterval((arm, LONG), rows[arm, LONG]) for arm in (0, 1, 0, 1)]
    with launches.among(samples, rows, plain_row, LENGTH, fence) as intervals:
        for interval in intervals:
            if interval.before is not None:
                interval.before()
            result = interval.enqueue()
            if interval.after is not None:
                interval.after(result)
    return intervals, launches.result(intervals, np.array([seconds(interval) for interval in intervals]), 1e-6)


@pytest.mark.parametrize("rng_seed", range(10))
def test_audited_launch_answers_values_that_come_right_before_it(rng_seed):
    _, probe = probed(honest, rng_seed)
    assert [(seed, answer.tolist()) for seed, answer in probe.answers] == [(100, [200.0] * 4), (102, [204.0] * 4)]


def test_launch_that_begins_early_has_read_the_values_before():
    wrong = [probed(early(), rng_seed)[1].answers[1][1].tolist() != [204.0] * 4 for rng_seed in range(10)]
    assert all(wrong)


def test_calls_are_timed_with_something_between_them_where_a_timer_has_it():
    events = []

    def candidate(inputs, output):
        events.append("call")
        return honest(inputs, output)

    def seconds(interval):
        before = len(events)
        interval.enqueue()
        made = events[before:]
        if made == ["call", "fence"] * LENGTH:
            return 40e-6
        return 5e-6 if made == ["fence"] * LENGTH else 10e-6

    _, probe = probed(candidate, fence=lambda: events.append("fence"), seconds=seconds)
    # 35 us for five calls, of which each took 1 us in the round's rows.
    assert probe.overlap_seconds == pytest.approx(6e-6)


def test_nothing_is_hidden_where_the_timer_lets_no_two_calls_meet():
    intervals, probe = probed(honest)
    assert probe.overlap_seconds is None
    assert len(intervals) == 4 + 3


def test_of_large_answers_one_is_kept_and_it_is_either(monkeypatch):
    monkeypatch.setattr(module, "_HELD_BYTES", 15)
    monkeypatch.setattr("secrets.randbelow", random.Random(1).randrange)
    kept = [[(seed, answer.tolist()) for seed, answer in probed(honest)[1].answers] for _ in range(12)]
    assert {len(one) for one in kept} == {1}
    assert {one[0][0] for one in kept} == {100, 102}
    assert all(values == [2.0 * seed] * 4 for ((seed, values),) in kept)
