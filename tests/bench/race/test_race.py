"""Rounds, order, budget and stopping, on a device whose clock is made up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_kgate.bench.race import race
from pytest_kgate.device.protocol import FirstLook
from pytest_kgate.device.protocol import Probe
from pytest_kgate.device.protocol import Round
from pytest_kgate.statistics.gate_facts import LOOKS
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.group_sequential import SAMPLES
from pytest_kgate.statistics.intervals.percentiles import percentiles


class Scripted:
    """A stopwatch of known ratio that notes how it is used; one sample takes a simulated millisecond."""

    timer = "fake"
    cache = "hot"
    tick_seconds = 0.0
    offset_sd = 0.0
    run_length = 1
    enough_seconds = 8e-2
    sample_seconds = 2e-3

    def __init__(self, ratio, noise=0.01):
        self.ratio = ratio
        self.noise = noise
        self.warnings = []
        self.seeds = []
        self.orders = []
        self.now = 0.0

    def clock(self):
        return self.now

    def round(self, seeds, order):
        self.seeds.append(seeds.values)
        self.orders.append(tuple(order))
        self.now += 1e-3 * len(order)
        rng = np.random.default_rng(seeds.values)
        seconds = np.exp(self.noise * rng.standard_normal((2, len(order) // 2))) * 1e-3
        seconds[0] *= self.ratio
        return Round(seconds, np.zeros(2), evidence={"sm_clock_hz": 1e9})


def run(watch, *bounds, budget=100.0, precision=None, seed=42):
    return race.run(watch, [SpeedGate(bound) for bound in bounds], race.Plan(budget, seed, precision), watch.clock)


def test_clear_result_stops_at_the_first_look():
    result = run(Scripted(0.5), 0.95)
    assert (result.judgements[0].verdict, result.rounds) == (Verdict.PASS, LOOKS[0])


def test_race_goes_on_until_every_gate_is_decided_and_keeps_earlier_verdicts():
    result = run(Scripted(0.949, noise=0.02), 2.0, 0.95)
    assert result.rounds == LOOKS[-1]
    assert (result.judgements[0].verdict, result.judgements[0].rounds) == (Verdict.PASS, LOOKS[0])


def test_race_goes_on_past_its_verdict_until_a_percentile_is_known():
    watch = Scripted(0.5)
    result = race.run(watch, [SpeedGate(0.95)], race.Plan(100.0, 42, percentile=0.99), watch.clock)
    assert result.judgements[0].rounds == LOOKS[0]
    assert result.rounds > LOOKS[1]
    known = [percentiles(arm, [0.99])[0] for arm in (result.candidate, result.reference)]
    assert all(one.low is not None and one.high is not None for one in known)


def test_race_for_a_percentile_goes_beyond_the_last_look_and_ends_with_the_budget():
    class Alike(Scripted):
        def round(self, seeds, order):
            found = super().round(seeds, order)
            return replace(found, seconds=np.repeat(found.seconds[:, :1], len(order) // 2, axis=1))

    watch = Alike(0.95)
    result = race.run(watch, [SpeedGate(0.95)], race.Plan(100.0, 42, percentile=0.95), watch.clock)
    assert LOOKS[-1] <= result.rounds < race.MOST_ROUNDS
    assert result.judgements[0].rounds <= LOOKS[-1]
    watch = Alike(0.95)
    result = race.run(watch, [SpeedGate(0.95)], race.Plan(3.0, 42, percentile=0.99), watch.clock)
    assert result.spent_seconds == pytest.approx(3.0, rel=0.05)


def test_budget_ends_the_race_undecided():
    watch = Scripted(0.95)
    result = run(watch, 0.95, budget=0.3)
    assert result.judgements[0].verdict is Verdict.INCONCLUSIVE
    assert result.judgements[0].reason
    assert result.spent_seconds == pytest.approx(0.3, rel=0.3)


def test_slow_kernels_get_fewer_samples_a_round_so_that_the_rounds_fit():
    assert len(_orders(budget=100.0)[0]) == 2 * SAMPLES
    assert len(_orders(budget=1.0)[0]) < 2 * SAMPLES


def _slow(ratio=0.5, noise=1e-4, seconds=20e-3):
    """A stopwatch whose kernel takes `seconds`, and is as quiet as slow kernels on a GPU are."""
    watch = Scripted(ratio, noise)
    watch.sample_seconds, watch.enough_seconds = 2 * seconds, 8e-3
    return watch


def test_a_kernel_of_milliseconds_is_judged_after_two_samples_a_round():
    watch = _slow()
    result = run(watch, 0.95)
    assert result.judgements[0].verdict is Verdict.PASS
    assert sum(map(len, watch.orders)) == LOOKS[0] * 2 * 2


def test_what_rises_evenly_within_a_round_does_not_move_two_samples():
    watch = _slow()
    run(watch, 0.95)
    places = [[place for place, arm in enumerate(order) if arm == 0] for order in watch.orders]
    assert {sum(one) for one in places} == {3}
    assert {one[0] for one in places} == {0, 1}


@pytest.mark.parametrize(("quantile", "samples"), [(0.5, 2), (0.75, 4), (0.9, 10), (0.1, 10), (0.99, 10)])
def test_a_quantile_has_samples_beyond_it_in_each_round(quantile, samples):
    watch = _slow()
    race.run(watch, [SpeedGate(0.95, quantile=quantile)], race.Plan(100.0, 42), watch.clock)
    assert {len(order) for order in watch.orders} == {2 * samples}


def test_budget_that_cannot_hold_the_first_look_is_not_spent_and_the_figure_is_told():
    watch = Scripted(0.5)
    watch.sample_seconds = 1.0
    result = run(watch, 0.95, budget=12 * 4e-3 / 2)
    assert result.rounds == 3
    assert result.judgements[0].reason == (
        "the first look needs 12 rounds, which take about 0.048 s, and the budget is 0.024 s: the race ended after 3 "
        "rounds"
    )

    slow = Scripted(0.5)
    slow.sample_seconds = 5.0
    slow.clock = lambda: 2.5e3 * slow.now
    assert "which take about 120 s, and the budget is 60 s" in run(slow, 0.95, budget=60.0).judgements[0].reason


class Interrupted(Scripted):
    """Other work takes the machine during the first rounds."""

    def round(self, seeds, order):
        self.now += 0.1 if len(self.orders) < 4 and len(self.orders) != 1 else 0.0
        return super().round(seeds, order)


def test_a_race_is_not_given_up_for_what_delays_its_first_rounds():
    watch = Interrupted(0.5)
    assert run(watch, 0.95, budget=0.6).judgements[0].verdict is Verdict.PASS


def test_a_race_that_nearly_reaches_its_first_look_takes_it():
    watch = Scripted(0.5)
    watch.sample_seconds = 1.0
    assert run(watch, 0.95, budget=0.9 * 12 * 4e-3).judgements[0].verdict is Verdict.PASS


def _orders(budget):
    watch = Scripted(0.5)
    run(watch, 0.95, budget=budget)
    return watch.orders


def test_order_is_shuffled_anew_every_round_and_balanced():
    orders = _orders(budget=100.0)
    assert len(set(orders)) == len(orders)
    assert all(sum(order) * 2 == len(order) for order in orders)


def test_arms_that_are_costly_to_change_take_turns_in_runs():
    watch = Scripted(0.95)
    watch.run_length = 5
    run(watch, 0.95)
    changes = [int(np.abs(np.diff(order)).sum()) for order in watch.orders]
    assert max(changes) == 3
    assert min(changes) == 1
    assert all(sum(order) == SAMPLES for order in watch.orders)


def test_every_round_is_made_from_a_seed_of_its_own_and_the_race_repeats_by_seed():
    watches = [Scripted(0.95), Scripted(0.95), Scripted(0.95)]
    for watch, seed in zip(watches, (1, 1, 2), strict=True):
        run(watch, 0.95, seed=seed)
    assert len(set(watches[0].seeds)) == len(watches[0].seeds)
    assert (watches[0].seeds, watches[0].orders) == (watches[1].seeds, watches[1].orders)
    assert watches[0].seeds != watches[2].seeds


def test_race_without_gates_stops_when_the_ratio_is_known_well_enough():
    coarse = run(Scripted(0.5, noise=0.001))
    fine = run(Scripted(0.5, noise=0.02), precision=1e-4)
    assert coarse.rounds == LOOKS[0]
    assert fine.rounds == LOOKS[-1]
    assert coarse.ratio is not None
    assert coarse.ratio.estimate == pytest.approx(0.5, rel=0.01)


def test_race_without_gates_on_a_noisy_machine_leaves_most_of_its_budget():
    watch = Scripted(0.5, noise=0.2)
    result = run(watch, budget=2.0)
    assert LOOKS[0] < result.rounds < LOOKS[2]
    assert result.spent_seconds < 0.5
    assert run(Scripted(0.5, noise=0.2), 0.5, budget=2.0).rounds == LOOKS[-1]


def test_budget_too_small_for_one_round_is_inconclusive_not_an_error():
    watch = Scripted(0.5)
    watch.now = 1.0
    result = race.run(watch, [SpeedGate(0.95)], race.Plan(1e-9, 42), iter(range(100)).__next__)
    assert result.rounds == 0
    assert result.judgements[0].verdict is Verdict.INCONCLUSIVE


def test_evidence_of_the_rounds_is_kept():
    assert list(run(Scripted(0.5), 0.95).evidence["sm_clock_hz"]) == [1e9] * LOOKS[0]


def test_progress_is_told_after_every_round():
    watch, seen = Scripted(0.5), []
    race.run(watch, [SpeedGate(0.95)], race.Plan(100.0, 42), watch.clock, seen.append)
    assert [progress.rounds for progress in seen] == list(range(1, LOOKS[0] + 1))
    assert seen[-1].ratio == pytest.approx(0.5, rel=0.1)


QUIET = FirstLook(1e-3, (1e-3,) * 10)


class Remembering(Scripted):
    """New values take 3 ms longer, except in the first probe, where most of the other launches were slow."""

    probes = 0

    def round(self, seeds, order):
        found = super().round(seeds, order)
        if not seeds.probes:
            return found
        self.probes += 1
        return replace(found, probe=Probe((), (FirstLook(4e-3, (13e-3 if self.probes == 1 else 1e-3,) * 10), QUIET)))


def test_race_goes_on_while_the_candidate_may_be_one_that_remembers():
    result = run(Remembering(0.5), 0.95)
    assert (result.judgements[0].verdict, result.judgements[0].rounds) == (Verdict.PASS, LOOKS[0])
    assert result.rounds == LOOKS[2]
    assert result.new_values.dear


class Tailed(Scripted):
    """Some samples of each round take half as long again."""

    def round(self, seeds, order):
        found = super().round(seeds, order)
        slow = np.random.default_rng([seeds.layout, 1]).random(found.seconds.shape) < 0.15
        return Round(np.where(slow, 1.5, 1.0) * found.seconds, np.zeros(2))


def test_precision_that_was_asked_for_is_that_of_every_gates_quantile():
    """The middle of a latency is known long before its tail is."""
    plan = race.Plan(100.0, 42, 0.12)
    middle, tail = SpeedGate(0.5), SpeedGate(0.5, quantile=0.9)
    rounds = []
    for gates in ([middle], [middle, tail]):
        watch = Tailed(0.5)
        rounds.append(race.run(watch, gates, plan, watch.clock).rounds)
    assert rounds[0] == LOOKS[0] < rounds[1]
