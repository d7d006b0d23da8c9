"""What the rows on new values tell of a candidate: that it remembers answers, or nothing."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_kgate.device.protocol import FirstLook
from pytest_kgate.integrity.side_effects.memories.new_values import CHANCE
from pytest_kgate.integrity.side_effects.memories.new_values import compare
from pytest_kgate.integrity.side_effects.memories.new_values import sum_of_uniforms
from pytest_kgate.statistics.estimates import Interval
from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict

ROWS = 10


def looks(new, old):
    """One probe of an arm for each row of `old`."""
    return [FirstLook(float(one), tuple(others)) for one, others in zip(new, old, strict=True)]


def compared(new, old, latency=10e-6, reference_new=None):
    """With a reference that takes 40 us, and on new values no longer unless `reference_new` says so."""
    quiet = np.full((len(new), ROWS), 40e-6)
    reference = looks(quiet[:, 0] if reference_new is None else reference_new, quiet)
    samples = (np.full((12, ROWS), latency), np.full((12, ROWS), 40e-6))
    return compare(list(zip(looks(new, old), reference, strict=True)), samples)


def test_memory_is_told_by_six_probes_and_doubted_after_three():
    old = np.full((6, ROWS), 10e-6)
    assert compared([40e-6] * 3, old[:3]).doubtful
    found = compared([40e-6] * 6, old)
    assert (found.dear, found.doubtful) == (True, False)
    assert found.text == (
        "the candidate takes 30.0 us longer on values that it has not seen, and 10.0 us on those that it has"
    )


def test_honest_kernel_needs_no_more_probes():
    found = compared([10.1e-6, 9.9e-6, 10e-6], np.full((3, ROWS), 10e-6))
    assert not found.dear
    assert not found.doubtful


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_work_for_show_in_some_rows_on_old_values_does_not_hide_a_memory(share):
    """A maximum is what such a candidate sets: its slowest row on old values takes as long as the one on new ones."""
    rng = np.random.default_rng(1)
    hidden = 0
    for _ in range(50):
        old = np.where(rng.random((24, ROWS)) < share, 45e-6, 10e-6)
        hidden += not compared([40e-6] * 24, old).dear
    assert hidden == 0


def test_what_new_values_cost_the_reference_as_well_is_no_memory():
    cold_caches = compared([50e-6] * 6, np.full((6, ROWS), 10e-6), reference_new=[80e-6] * 6)
    assert not cold_caches.dear
    assert not cold_caches.doubtful


def test_few_interrupts_leave_a_doubt_that_more_probes_end():
    old = np.full((6, ROWS), 10e-6)
    assert compared([10e-6, 10e-6, 300e-6], old[:3]).doubtful
    later = compared([10e-6] * 4 + [300e-6] * 2, old)
    assert not later.dear
    assert not later.doubtful


def test_nothing_is_told_by_no_probe_or_samples_that_are_no_numbers():
    assert compare([], (np.ones((12, ROWS)), np.ones((12, ROWS)))) is None
    assert compared([40e-6] * 3, np.full((3, ROWS), 10e-6), latency=float("nan")) is None


def test_ranks_add_up_as_uniform_numbers_do():
    sums = np.random.default_rng(2).random((20_000, 6)).sum(axis=1)
    for total in (1.0, 1.8, 2.5):
        assert sum_of_uniforms(6, total) == pytest.approx((sums <= total).mean(), abs=0.01)
    assert sum_of_uniforms(6, 6 / 61) < 1e-8


def noise(kind, rng, shape):
    """Latencies of a kernel of 10 us on a busy host, of one of several kinds."""
    if kind == "heavy tail":
        return 10e-6 * (1 + rng.pareto(1.0, shape))
    if kind == "preempted":
        return 10e-6 + np.where(rng.random(shape) < 0.3, 4e-3 * rng.random(shape), 0)
    busy = rng.random((shape[0], 1)) < 0.5
    return 10e-6 * np.where(busy, rng.lognormal(1.5, 1.0, shape), rng.lognormal(0, 0.05, shape))


@pytest.mark.parametrize("probes", [3, 6, 12, 24])
@pytest.mark.parametrize("kind", ["heavy tail", "preempted", "busy rounds"])
def test_noise_is_taken_for_a_memory_no_more_often_than_promised(kind, probes):
    rng = np.random.default_rng([probes, len(kind)])
    accused = 0
    for _ in range(300):
        rows = noise(kind, rng, (probes, 1 + ROWS))
        accused += compared(rows[:, 0], rows[:, 1:]).dear
    assert accused <= 1  # 0.03 are expected at most


def passed(ratio, bound=0.8):
    return Judgement(SpeedGate(bound), Verdict.PASS, "", 12, ratio=Interval(ratio, ratio, ratio, 0.95, "blocks-t"))


def test_gate_that_would_not_pass_on_new_values_is_named_with_its_ratio():
    found = compared([35e-6] * 6, np.full((6, ROWS), 10e-6))
    told = found.turned([passed(0.25)])
    assert "on new values its ratio is about 0.875, and 0.8 is demanded" in told
    assert found.turned([passed(0.25, bound=0.9)]) is None
    assert found.turned([passed(0.25)], 0.7) is None  # where single calls were timed
    assert found.chance < CHANCE
