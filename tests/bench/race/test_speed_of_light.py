"""`speed_of_light`: what is judged when, on a device whose latencies are known, and how often it errs on its bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from pytest_kgate import Problem
from pytest_kgate.bench.race import race
from pytest_kgate.bench.race.retry import race_with_retry
from pytest_kgate.bench.race.speed_of_light import limit
from pytest_kgate.bench.race.speed_of_light.judge import LightDemand
from pytest_kgate.bench.race.speed_of_light.judge import judge_light
from pytest_kgate.bench.race.speed_of_light.judge import judge_light_processes
from pytest_kgate.bench.race.speed_of_light.limit import LightAsked
from pytest_kgate.bench.race.speed_of_light.rates import MeasuredFloor
from pytest_kgate.bench.race.speed_of_light.rates import MeasuredRates
from pytest_kgate.bench.race.speed_of_light.rates import Rate
from pytest_kgate.bench.request import Request
from pytest_kgate.bench.request import Settings
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.fake.noise import Autoregressive
from pytest_kgate.device.fake.noise import Mixture
from pytest_kgate.device.fake.noise import RoundOffset
from pytest_kgate.device.fake.noise import TwoStateClock
from pytest_kgate.device.fake.noise import White
from pytest_kgate.device.protocol import Reading
from pytest_kgate.device.protocol import Workload
from pytest_kgate.statistics.gate_facts import LOOKS
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import SpeedOfLightGate
from pytest_kgate.statistics.gates import Verdict

FLOOR = MeasuredFloor(80e-6, "flops", "8e+10 FLOPs at 1e+15 a second (float16)", False, 0.01, "")


def demand(bound=0.8, floor=FLOOR, **gate):
    return LightDemand(SpeedOfLightGate(bound, **gate), floor)


def raced(device, asked, *bounds, budget=100.0, seed=42, precision=None):
    stopwatch = _stopwatch(device)
    plan = race.Plan(budget, seed, precision, light=asked)
    return race.run(stopwatch, [SpeedGate(bound) for bound in bounds], plan, device.clock)


def _stopwatch(device):
    arms = [Arm(name, lambda inputs, output: output, False) for name in ("candidate", "reference")]
    return device.stopwatch(arms, Workload(lambda seed: (), lambda inputs: None))


def device(candidate=100e-6, noise=None, **more):
    return FakeDevice({"candidate": candidate, "reference": 200e-6}, noise or White(0.01), seed=42, **more)


def test_far_above_the_bound_passes_and_far_below_fails_at_the_first_look():
    found = raced(device(90e-6), demand(0.6))
    assert (found.light.verdict, found.rounds) == (Verdict.PASS, LOOKS[0])
    assert found.light.share.estimate == pytest.approx(80 / 90, rel=0.01)
    assert found.light.reason == ""
    found = raced(device(200e-6), demand())
    assert (found.light.verdict, found.rounds) == (Verdict.FAIL, LOOKS[0])
    assert found.light.reason.startswith("the candidate reaches 40.")
    assert found.light.reason.endswith(
        "of the measured roofline, where 80 % are demanded; it takes 200 us, and the floor is 80.0 us, by its FLOPs"
    )


def test_near_the_bound_all_rounds_are_taken_for_a_latency_may_stay_off_for_some():
    found = raced(device(97e-6), demand())
    assert (found.light.verdict, found.rounds) == (Verdict.PASS, LOOKS[-1])
    found = raced(device(100e-6), demand())
    assert (found.light.verdict, found.rounds) == (Verdict.INCONCLUSIVE, LOOKS[-1])
    assert "after 96 rounds: make the machine quieter, or move the bound" in found.light.reason


def test_a_race_whose_speedup_is_decided_goes_on_until_the_share_is_and_the_other_way_round():
    found = raced(device(99e-6, White(0.02)), demand(), 0.95)
    assert (found.judgements[0].verdict, found.judgements[0].rounds) == (Verdict.PASS, LOOKS[0])
    assert found.rounds == LOOKS[-1]
    found = raced(device(99e-6, White(0.05)), demand(0.5), 0.5)
    assert (found.light.verdict, found.light.rounds) == (Verdict.PASS, LOOKS[0])
    assert found.rounds > LOOKS[0]


def test_the_budget_ends_the_race_with_the_interval_that_there_is():
    found = raced(device(100e-6, White(0.02)), demand(), budget=0.2)
    assert LOOKS[0] <= found.rounds < LOOKS[-1]
    assert found.light.verdict is Verdict.INCONCLUSIVE
    assert found.light.share.low < 0.8 < found.light.share.high
    assert "raise the budget" in found.light.reason


def test_a_budget_that_can_not_hold_the_first_look_is_told_with_the_seconds_that_it_takes():
    found = raced(device(round_seconds=1.0), demand(), budget=2.0)
    assert found.light.reason.startswith("the first look needs 12 rounds, which take about 12 s")
    assert found.light.share is None


def test_a_race_without_the_gate_is_as_it_was():
    found = raced(device(), None, 0.95)
    assert found.light is None
    assert found.rounds == LOOKS[0]


def test_samples_that_are_no_latencies_are_not_judged():
    found = raced(device(faults={0: float("nan")}), demand())
    assert found.light.verdict is Verdict.INVALID
    assert "not finite" in found.light.reason


def test_a_timer_of_coarse_ticks_that_shows_no_spread_is_as_wide_as_a_tick():
    samples = np.full((12, 10), 100e-6)
    judged = judge_light(demand(0.8), samples, final=True, tick_seconds=5e-6)
    assert judged.share.low < 0.8 < judged.share.high
    assert judge_light(demand(0.75), samples, final=True).verdict is Verdict.PASS


def test_a_second_try_at_a_rerun_needs_a_stronger_result():
    assert SpeedOfLightGate(0.8).at_attempt(1) == SpeedOfLightGate(0.8)
    assert SpeedOfLightGate(0.8).at_attempt(2).confidence == pytest.approx(0.975)


def _foreign(rounds):
    return Reading(foreign_processes=1)


def _throttled(rounds):
    return Reading(throttle=0x04 if rounds > 5 else 0)


def test_a_disturbed_race_is_repeated_and_then_not_trusted_unless_its_verdict_bears_the_disturbance():
    def tried(machine, candidate=200e-6, **evidence):
        one = device(candidate, machine=machine, **evidence)
        return race_with_retry(one, _stopwatch(one), (), race.Plan(10.0, 42, light=demand(0.6)))

    assert "another process" in tried(_foreign).invalid
    assert len(tried(_foreign).facts["tries"]) == 2
    moving = {"evidence": lambda rounds: {"sm_clock_hz": 1.9e9 - 1e8 * (rounds % 2), "sm_clock_change": 0.001}}
    assert tried(_throttled, **moving).invalid is None


def test_several_processes_are_judged_by_how_far_their_own_shares_agree():
    rng = np.random.default_rng(3)
    runs = [100e-6 * np.exp(offset + 0.01 * rng.standard_normal((24, 10))) for offset in (-0.02, 0.0, 0.02)]
    judged = judge_light_processes(demand(0.5), runs, 0.0)
    assert (judged.verdict, judged.rounds) == (Verdict.PASS, 72)
    assert judged.share.method == "processes-t"
    assert judge_light_processes(demand(0.99), runs, 0.0).verdict is Verdict.FAIL
    undecided = judge_light_processes(demand(0.8), runs, 0.0)
    assert undecided.verdict is Verdict.INCONCLUSIVE
    assert "over 3 processes: more of them" in undecided.reason


RATES = MeasuredRates({"name": "x"}, "2026-11-27T12:00:00+00:00", 1.0, {}, {}, (Rate(1e12, 0.0, 2**30),))


def asked(floor=FLOOR, bound=0.8):
    return LightAsked(SpeedOfLightGate(bound), RATES, demand(bound, floor))


def test_the_limit_of_a_record_is_in_percent_and_says_by_what_the_floor_is_set():
    found = raced(device(200e-6), demand())
    facts = asked().limit(found.light, None)
    assert (facts["verdict"], facts["bound"], facts["unit"], facts["sense"]) == ("FAIL", 80.0, "%", ">=")
    assert facts["value"] == pytest.approx(40, rel=0.01)
    assert facts["interval"]["low"] < facts["value"] < facts["interval"]["high"]
    assert asked().roofline()["set_by"] == "flops"


def test_a_race_that_is_not_to_be_trusted_measures_no_share():
    facts = asked().limit(raced(device(), demand()).light, "the machine was busy")
    assert (facts["verdict"], facts["reason"], facts["value"]) == ("NOT MEASURED", "the machine was busy", None)


@pytest.mark.parametrize(
    ("floor", "cache", "said"),
    [
        (FLOOR, "hot", "it computes less than Problem(flops=...) says, or in a faster type"),
        (replace(FLOOR, set_by="bytes", from_cache=True), "hot", "with a hot cache, bytes may come from nearer caches"),
        (replace(FLOOR, set_by="bytes"), "cold", "it moves fewer bytes than Problem(bytes=...) says"),
    ],
)
def test_a_share_above_one_is_explained(floor, cache, said):
    judged = raced(device(40e-6), demand(floor=floor)).light
    assert judged.verdict is Verdict.PASS
    (warning,) = asked(floor).warnings(judged, cache)
    assert "faster than the measured roofline" in warning
    assert said in warning
    assert asked(floor).warnings(raced(device(), demand(floor=floor)).light, cache) == []


@pytest.mark.parametrize("accepted", [False, True])
def test_a_roofline_that_other_work_has_lowered_judges_nothing_unless_it_is_accepted(monkeypatch, accepted):
    busy = replace(RATES, disturbed="other work took 1.4 of the machine's cores")
    monkeypatch.setattr(limit.kept, "rates_of", lambda device, accept_disturbed: busy)
    problem = Problem("copy", lambda g: (), lambda: None, lambda: None, bytes=1e6)
    settings = Settings(foreign_load="warn" if accepted else "invalid")
    wanted = Request("t", 0, lambda: None, problem, (), None, settings, light=SpeedOfLightGate(0.8))
    found = limit.light_of(wanted, device())
    if accepted:
        assert found.warnings(None, "hot")[0].endswith("accepted as asked: other work took 1.4 of the machine's cores")
    else:
        assert found.limit(None, None)["verdict"] == "NOT MEASURED"
        assert "could not be measured, since other work took 1.4 of the machine's cores meanwhile" in found.why_not


def test_a_rate_that_was_measured_on_a_busy_machine_and_flops_without_a_rate_are_warned_of():
    (busy,) = asked(replace(FLOOR, spread=0.4)).warnings(None, "hot")
    assert "`kgate roofline --again`" in busy
    (left,) = asked(replace(FLOOR, left_out="there is no rate of int4 here")).warnings(None, "hot")
    assert left == "the measured roofline is of bytes alone: there is no rate of int4 here"


@pytest.mark.parametrize(
    ("noise", "level"),
    [
        pytest.param(Mixture((White(0.01), RoundOffset(0.005))), 0.0, id="white"),
        pytest.param(Mixture((White(0.01), Autoregressive(0.95, 0.03))), 0.0, id="shared-ar1"),
        pytest.param(Mixture((White(0.01), TwoStateClock(0.5, 100, 0.08))), 0.04, id="two-state-clock"),
    ],
)
def test_a_share_that_is_exactly_the_bound_passes_and_fails_as_rarely_as_promised(noise, level):
    """2.5 % to either side at most. `level` is the mean of the noise, on the log scale: it is part of the latency."""
    truth = 100e-6
    asked = demand(0.8, replace(FLOOR, seconds=0.8 * truth * np.exp(level)))
    one, gates = device(truth, noise), 60
    verdicts = [raced(one, asked, seed=seed).light.verdict for seed in range(gates)]
    for verdict in (Verdict.PASS, Verdict.FAIL):
        count = verdicts.count(verdict)
        assert binomtest(count, gates, 0.025, alternative="greater").pvalue >= 0.01, (verdict, count)
