"""What the readings around a race's rounds say of it, on made-up readings."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pytest_kgate.bench.race.evidence import disturbances
from pytest_kgate.bench.race.evidence import order_effects
from pytest_kgate.bench.race.evidence.disturbances import RaceLog
from pytest_kgate.bench.race.evidence.disturbances import clock_warnings
from pytest_kgate.device.protocol import ColdCache
from pytest_kgate.device.protocol import Reading
from pytest_kgate.device.protocol import Round
from pytest_kgate.errors import TimingError

SW_THERMAL, POWER_CAP, IDLE = 0x20, 0x04, 0x01


def observed(
    rounds=24, samples=10, *, clock=None, change=None, order=None, slope=(0.0, 0.0), first=0.0, readings=(), **more
):
    """A race in which nothing is wrong but what is asked for; latencies of 10 us with 1 % of noise."""
    rng = np.random.default_rng(more.get("seed", 5))
    taken, orders = [], []
    for index in range(rounds):
        arms = rng.permutation(np.repeat([0, 1], samples)) if order is None else order
        logs = 0.01 * rng.standard_normal(2 * samples) + np.linspace(-0.5, 0.5, 2 * samples) * np.take(slope, arms)
        logs[0] += first
        seconds = 10e-6 * np.exp(np.stack([logs[arms == arm] for arm in (0, 1)]))
        found = {}
        if clock is not None:
            found["sm_clock_hz"] = clock(index)
        if change is not None:
            found["sm_clock_change"] = change(index)
        taken.append(Round(seconds, np.zeros(2), evidence=found, retaken=more.get("retaken", {}).get(index, 0)))
        orders.append(arms)
    return RaceLog(
        taken,
        orders,
        ended=[index * 1e-3 for index in range(rounds)],
        readings=list(readings),
        tick_seconds=more.get("tick", 32e-9),
        sample_seconds=20e-6,
        cold=more.get("cold"),
    )


def reasons(**what):
    return tuple(reason.text for reason in disturbances.assess(observed(**what)).reasons)


def warnings(**what):
    return disturbances.assess(observed(**what)).warnings


def settled(index):
    return 1.98e9 * (1 + 0.001 * (index % 2))


def test_quiet_race_is_trusted_without_a_word():
    found = disturbances.assess(
        observed(
            clock=settled, change=lambda index: 0.001 * (-1) ** index, readings=[(0, Reading(0, 40.0, 0, 1e-3))] * 3
        )
    )
    assert (found.reasons, found.warnings) == ((), ())
    assert found.facts["clock_step_bias"] < 1e-3


def test_clock_that_moved_during_the_race_is_said_with_its_range():
    (warning,) = clock_warnings(np.array([1.98e9, 1.98e9, 1.41e9]))
    assert "between 1.41 and 1.98 GHz" in warning


def test_settled_or_unknown_clock_is_not_worth_a_word():
    assert clock_warnings(np.array([1.980e9, 1.981e9, 1.979e9])) == []
    assert clock_warnings(np.empty(0)) == []


def test_clock_step_between_the_arms_is_found_and_one_that_hits_both_alike_is_not():
    apart = np.repeat([0, 1], 10)
    mixed = np.tile([0, 1], 10)
    assert "separated the arms by 1.0 %" in reasons(change=lambda _: -0.01, order=apart)[0]
    assert reasons(change=lambda _: -0.01, order=mixed) == ()


def test_slow_first_samples_are_no_slope_over_the_places():
    """Medians don't mind them, though a line through all samples leans: it called one race in thirty disturbed."""
    for seed in range(40):
        found = disturbances.assess(observed(rounds=12, first=0.3, seed=seed))
        assert found.reasons == ()
        assert "the device was not warm" in found.warnings[0]


def test_random_order_cancels_a_clock_that_settles_in_every_round():
    assert reasons(rounds=96, change=lambda _: -0.01) == ()
    orders = observed(rounds=12).orders
    steep = np.full(12, -0.03)  # random order leaves more than is tolerated, and widens the interval by it
    assert order_effects.clock_step_bias(steep, orders) > order_effects.TOLERATED_BIAS
    assert order_effects.separated(steep, orders, ratio_se=0.03 * 0.23 / 12**0.5) == []
    assert len(order_effects.separated(steep, orders, ratio_se=1e-4)) == 1


def test_one_large_step_in_a_short_race_is_enough():
    order = np.repeat([0, 1], 10)
    orders = [order, *(np.tile([0, 1], 10) for _ in range(11))]
    changes = np.array([0.08, *[0.0] * 11])
    assert order_effects.clock_step_bias(changes, orders) == pytest.approx(0.08 / 12)
    assert len(order_effects.separated(changes, orders, ratio_se=0.08 / 12)) == 1


@pytest.mark.parametrize("count", [1, 3])
def test_process_that_is_not_ours_is_a_reason(count):
    (reason,) = reasons(readings=[(0, Reading(0)), (6, Reading(foreign_processes=count)), (12, Reading(0))])
    assert "had the GPU open during the race" in reason


def test_unknown_processes_are_no_reason():
    assert reasons(readings=[(0, Reading()), (12, Reading())]) == ()


def heated(index):
    return 1.98e9 if index < 6 else 1.7e9


def test_throttling_that_began_during_the_race_and_slowed_the_clock_is_a_reason():
    begun = [(0, Reading(IDLE)), (1, Reading(0)), (6, Reading(SW_THERMAL)), (24, Reading(0))]
    (reason,) = reasons(clock=heated, readings=begun)
    assert "began to throttle during the race: heat" in reason
    assert reasons(readings=begun)  # a clock that is not measured may have moved
    assert reasons(clock=settled, readings=begun) == ()  # one that is, and stayed, has not


def test_a_clock_that_nobody_reads_has_moved_the_ratio_by_no_more_than_an_arm():
    """The host's clock and events around whole calls tell of no GPU's clock."""
    begun = [(0, Reading(IDLE)), (1, Reading(0)), (6, Reading(SW_THERMAL)), (24, Reading(0))]
    for slower, most in ((1.0, 0.02), (1.3, 0.3)):
        seen = observed(readings=begun)
        rounds = [replace(one, seconds=one.seconds * (slower if at > 5 else 1)) for at, one in enumerate(seen.rounds)]
        (reason,) = disturbances.assess(replace(seen, rounds=rounds)).reasons
        assert reason.too_low == reason.too_high
        assert math.log(slower) <= reason.too_low < most


def test_throttling_under_which_the_whole_race_ran_is_a_warning():
    capped = [(0, Reading(IDLE)), (1, Reading(POWER_CAP)), (24, Reading(POWER_CAP))]
    found = disturbances.assess(observed(clock=heated, readings=capped))
    assert found.reasons == ()
    assert any("power cap; both arms ran under it" in warning for warning in found.warnings)


def test_idle_gpu_does_not_throttle():
    assert reasons(clock=heated, readings=[(0, Reading(0)), (24, Reading(IDLE))]) == ()


def test_stream_that_waits_for_the_host_again_and_again_is_starved():
    assert "starved" in reasons(retaken=dict.fromkeys(range(0, 24, 2), 20))[0]


def test_one_late_host_and_a_timer_that_finds_its_pace_are_no_reason():
    assert reasons(retaken={0: 200}) == ()
    assert reasons(retaken={5: 20}) == ()


def test_place_in_the_round_is_reported_where_it_matters_to_nobody():
    found = disturbances.assess(observed(slope=(0.05, 0.05)))
    assert found.facts["position"]["candidate"]["mean"] == pytest.approx(0.05, abs=0.01)
    assert found.facts["position"]["reference"]["t"] > 4
    assert abs(found.facts["position"]["bias"]) < 0.01
    quiet = disturbances.assess(observed()).facts["position"]
    assert max(abs(quiet[arm]["t"]) for arm in ("candidate", "reference")) < 4


def test_place_that_moved_the_ratio_is_a_reason():
    found = disturbances.assess(observed(slope=(0.05, 0.05), order=np.repeat([0, 1], 10)))
    assert found.facts["position"]["bias"] == pytest.approx(-0.05 * 10 / 19, abs=0.005)
    assert "the places that the arms drew have moved the ratio" in found.reasons[0].text


def test_place_that_was_drawn_at_random_is_in_the_interval_already():
    """A slope so steep that no order of twelve rounds evens it out; the rounds differ by as much."""
    found = disturbances.assess(observed(rounds=12, slope=(0.5, 0.5)))
    assert abs(found.facts["position"]["bias"]) > order_effects.TOLERATED_BIAS
    assert found.reasons == ()


def test_slow_first_sample_is_said():
    assert any("first sample of a round is 3" in one for one in warnings(first=np.log(1.30), rounds=96))
    assert warnings(rounds=96) == ()


def test_coarse_tick_is_said():
    assert any("one tick of the timer is 5.0 %" in one for one in warnings(tick=0.5e-6))


def test_cache_that_answers_as_fast_after_it_was_emptied_is_not_cold():
    with pytest.raises(TimingError, match="270 cycles after the cache was emptied, and 265 from a warm one"):
        ColdCache(265.0, 270.0).required()
    assert ColdCache(270.0, 700.0).required() == ColdCache(270.0, 700.0)


def test_autocorrelation_idle_gap_and_cold_probe_are_recorded():
    facts = disturbances.assess(observed(cold=ColdCache(270.0, 700.0))).facts
    assert facts["cold"] == {"hot_cycles": 270.0, "flushed_cycles": 700.0}
    assert set(facts["autocorrelation"]) == {"ratio", "candidate", "reference"}
    assert facts["idle_gap_seconds"]["median"] == pytest.approx(1e-3 - 200e-6)


def test_idle_gap_is_what_the_device_was_not_busy_where_the_timer_knows():
    seen = observed()
    for one in seen.rounds:
        one.evidence["device_busy_seconds"] = 0.9e-3
    assert disturbances.assess(seen).facts["idle_gap_seconds"]["longest"] == pytest.approx(0.1e-3)


def test_samples_without_a_logarithm_are_left_to_the_gate():
    seen = observed()
    seen.rounds[3].seconds[0, 0] = -1e-6
    found = disturbances.assess(seen)
    assert "position" not in found.facts


def test_race_without_rounds_has_no_evidence():
    assert disturbances.assess(RaceLog([], [], [], [], 0.0, 1e-6)).reasons == ()
