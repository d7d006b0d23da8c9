"""Several candidates in the same rounds on a GPU: each of them reads what it reads alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gpu_races import CYCLES
from gpu_races import spin

from pytest_kgate.bench.race import race
from pytest_kgate.bench.race.joint import rounds
from pytest_kgate.device.arm import Arm
from pytest_kgate.statistics.estimates import log_ratios
from pytest_kgate.statistics.intervals.fixed_rounds import of_log_ratios

pytestmark = pytest.mark.gpu

LONG = 10 * CYCLES
"""Some 100 us: what a launch takes besides its cycles, 0.7 us, is then no part of a ratio worth speaking of."""


def joint(device, workload, cycles, *, timer="graph", cache="hot", count=12, seed=42):
    """Race spins of so many cycles against one of LONG, all in the same rounds."""
    first, *others = (Arm(f"candidate {n}", spin(device, one), False) for n, one in enumerate(cycles, start=1))
    arms = [first, Arm("reference", spin(device, LONG), False), *others]
    stopwatch = device.stopwatch(arms, workload, timer=timer, cache=cache)
    try:
        pairs = rounds.run(device, stopwatch, len(cycles), race.Plan(20.0, seed, rounds=count))
    finally:
        stopwatch.close()
    return stopwatch, [log_ratios(pair.race.candidate, pair.race.reference) for pair in pairs], pairs


@pytest.mark.parametrize(("timer", "cache"), [("graph", "hot"), ("graph", "cold"), ("queue", "hot"), ("eager", "hot")])
def test_each_candidate_has_its_own_ratio(device, workload, timer, cache):
    wanted = [0.5, 0.9, 1.0, 1.0, 1.2, 2.0]
    stopwatch, found, _ = joint(device, workload, [round(one * LONG) for one in wanted], timer=timer, cache=cache)
    assert stopwatch.timer == timer
    slack = 0.03 if timer != "eager" else 0.6  # which times the launch as well
    for ratios, ratio in zip(found, wanted, strict=True):
        assert np.exp(ratios.mean()) == pytest.approx(ratio, rel=slack)


def test_sixteen_equal_candidates_differ_by_less_than_half_a_percent(device, workload):
    _, found, pairs = joint(device, workload, [LONG] * 16, count=24)
    means = np.array([ratios.mean() for ratios in found])
    assert np.abs(means).max() < 0.005
    differences = [
        of_log_ratios(one - other).interval(0.999) for one, other in zip(found[:-1:2], found[1::2], strict=True)
    ]
    assert all(one.low <= 1.0 <= one.high for one in differences)
    # Rows are enqueued in parts, so that the host is not late for them.
    assert sum(pair.race.retaken for pair in pairs) == 0


def test_a_candidate_that_cannot_be_captured_takes_all_to_the_queue_timer(device, workload):
    def uncapturable(inputs, output):
        device.instruments.spin(device.stream, CYCLES)
        torch.cuda.current_stream().query()
        if torch.cuda.is_current_stream_capturing():
            raise RuntimeError("not in a graph")
        return inputs[0]

    arms = [Arm("candidate 1", spin(device, CYCLES), False), Arm("reference", spin(device, CYCLES), False)]
    arms.append(Arm("candidate 2", uncapturable, False))
    stopwatch = device.stopwatch(arms, workload, timer="auto", cache="hot")
    try:
        pairs = rounds.run(device, stopwatch, 2, race.Plan(20.0, 42, rounds=6))
    finally:
        stopwatch.close()
    assert stopwatch.timer == "queue"
    assert "candidate 2 can't be captured" in stopwatch.warnings[-1]
    assert len(pairs) == 2
