"""When a reference that takes longer in the tests' process than in a clean one is charged to the candidate."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_kgate.bench.processes.clean.slowdown import PAIRS
from pytest_kgate.bench.processes.clean.slowdown import Slowdown
from pytest_kgate.statistics.estimates import Interval
from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict


def slowdown(here, there, margin=0.05):
    return Slowdown(tuple(here), tuple(there), margin)


def judgement(high, bound):
    return Judgement(
        SpeedGate(bound), Verdict.PASS, "", 12, ratio=Interval(high / 2, high / 1.5, high, 0.95, "blocks-t")
    )


@pytest.mark.parametrize(
    ("factor", "noise", "missed"),
    [(1.0, 0.3, False), (1.04, 0.001, False), (1.5, 0.01, True), (1.1, 0.01, False), (4.0, 0.3, True)],
)
def test_only_what_is_beyond_noise_and_margin_is_charged(factor, noise, missed):
    rng = np.random.default_rng(1)
    there = 1e-5 * np.exp(noise * rng.standard_normal(16))
    here = factor * 1e-5 * np.exp(noise * rng.standard_normal(16))
    gate = judgement(high=0.8, bound=0.95)
    assert (slowdown(here, there).unproven([gate]) is not None) == missed


def test_machine_that_slows_down_both_processes_alike_accuses_nobody():
    drift = np.exp(np.linspace(0.0, 2.0, 16))
    gate = judgement(high=0.94, bound=0.95)
    assert slowdown(1e-5 * drift, 1e-5 * drift).unproven([gate]) is None


def test_other_work_that_holds_up_the_clean_process_now_and_then_does_not_hide_a_slowed_reference():
    rng = np.random.default_rng(1)
    here, there = 8e-5 * np.exp(0.05 * rng.standard_normal((2, 48))) / [[1.0], [8.0]]
    there[:: 48 // 12] *= 30  # a quarter of the rounds
    assert slowdown(here, there).unproven([judgement(high=0.4, bound=0.8)]) is not None


def test_noise_that_comes_with_the_slow_down_pays_for_none_of_it():
    """Of threads that spin after each call, on two cores: 3.7 times as long, and sure to be no more than 1.8 times."""
    noise = np.tile([-1.0, 1.0], 24)
    found = slowdown(3.7e-4 * np.exp(0.9 * noise), np.full(48, 1e-4), margin=0.15)
    assert found._proven < 2.1
    assert found.unproven([judgement(high=0.38, bound=0.8)]) is not None
    assert found.charged == pytest.approx(found.estimate / 1.15)


@pytest.mark.parametrize("seed", range(3))
def test_honest_gates_are_not_accused_by_noise(seed):
    rng = np.random.default_rng(seed)
    gate = judgement(high=0.949, bound=0.95)
    pairs = (int(number) for number in rng.choice(PAIRS, size=200))
    found = [slowdown(*np.exp(0.2 * rng.standard_t(2, (2, number)))) for number in pairs]
    assert sum(one.unproven([gate]) is not None for one in found) == 0
