"""Several candidates in the same rounds, on a device whose truth is known: what their estimates are worth."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from pytest_kgate import Problem
from pytest_kgate.bench.race import race
from pytest_kgate.bench.race.joint import rounds
from pytest_kgate.bench.race.joint import together
from pytest_kgate.bench.race.reference import ReferencePicker
from pytest_kgate.bench.race.round_plan import shuffled_order
from pytest_kgate.bench.request import Request
from pytest_kgate.bench.request import Settings
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.fake.noise import Autoregressive
from pytest_kgate.device.fake.noise import Mixture
from pytest_kgate.device.fake.noise import Noise
from pytest_kgate.device.fake.noise import RoundOffset
from pytest_kgate.device.fake.noise import TwoStateClock
from pytest_kgate.device.fake.noise import White
from pytest_kgate.device.protocol import Reading
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import UsageError
from pytest_kgate.statistics.estimates import log_ratios
from pytest_kgate.statistics.intervals.fixed_rounds import LogRatio
from pytest_kgate.statistics.intervals.fixed_rounds import of_log_ratios

NOISES = {
    "shared": Mixture((White(0.01), Autoregressive(0.95, 0.03))),
    "of each arm's rounds": Mixture((White(0.01), RoundOffset(0.005))),
    "a clock of each arm's own": Mixture((White(0.01), TwoStateClock(dwell=10.0, jump=0.02, per_arm=True))),
}


def joint(latency, noise: Noise | None, candidates: int, count: int, seed: int, **device: object) -> list[rounds.Pair]:
    """Race these candidates on a fake device; `latency` is the truth by an arm's name."""
    names = ["candidate 1", "reference", *(f"candidate {number}" for number in range(2, candidates + 1))]
    arms = [Arm(name, lambda inputs, output: output, False) for name in names]
    fake = FakeDevice(latency, noise, seed=seed, **device)
    watch = fake.stopwatch(arms, Workload(lambda seed: (), lambda inputs: None))
    return rounds.run(fake, watch, candidates, race.Plan(10.0, seed, rounds=count))


def ratios_of(pairs: list[rounds.Pair]) -> list[np.ndarray]:
    return [log_ratios(pair.race.candidate, pair.race.reference) for pair in pairs]


def holds(found: LogRatio, truth: float) -> bool:
    interval = found.interval()
    return interval.low <= truth <= interval.high


@pytest.mark.parametrize(
    ("arms", "races", "noise"),
    [(2, 60, "shared"), (5, 30, "of each arm's rounds"), (16, 12, "a clock of each arm's own")],
)
def test_estimates_of_equal_candidates_are_unbiased_and_their_intervals_hold(arms: int, races: int, noise: str) -> None:
    found, of_differences = [], []
    for seed in range(races):
        each = ratios_of(joint(lambda name: 1e-4, NOISES[noise], arms - 1, 6, seed))
        found += [of_log_ratios(one) for one in each]
        of_differences += [of_log_ratios(one - other) for one, other in zip(each[:-1:2], each[1::2], strict=False)]
    means = np.array([one.log_ratio for one in found]).reshape(races, -1).mean(axis=1)  # a race's share a reference
    assert abs(means.mean()) < 4 * means.std(ddof=1) / np.sqrt(races)
    for estimates in filter(None, (found, of_differences)):
        # Three standard errors below 94 %, as if there were no more independent ones than races.
        assert np.mean([holds(one, 1.0) for one in estimates]) > 0.94 - 3 * np.sqrt(0.94 * 0.06 / races)


def test_each_candidate_has_its_own_ratio_and_a_shared_disturbance_leaves_their_difference() -> None:
    truth = {"reference": 1e-4, "candidate 1": 0.9e-4, "candidate 2": 0.8e-4, "candidate 3": 1.2e-4}
    each = ratios_of(joint(truth.__getitem__, White(0.005), 3, 12, seed=1))
    for ratios, wanted in zip(each, (0.9, 0.8, 1.2), strict=True):
        assert np.exp(ratios.mean()) == pytest.approx(wanted, rel=0.01)
    of_reference = ratios_of(joint(truth.__getitem__, OnlyTheReference(), 3, 12, seed=1))
    difference = of_log_ratios(of_reference[0] - of_reference[1])
    assert np.exp(difference.log_ratio) == pytest.approx(0.9 / 0.8)
    assert difference.stderr < 1e-9 < of_log_ratios(of_reference[0]).stderr


class OnlyTheReference:
    """Noise of the arm that all ratios share."""

    def draw(self, rng, count, slots, arms=2):
        noise = np.zeros((arms, count, slots))
        noise[rounds.REFERENCE] = 0.05 * rng.standard_normal((count, 1))
        return noise


def test_one_candidate_in_a_joint_race_has_the_samples_of_a_race_of_two() -> None:
    noise = Mixture((White(0.01), RoundOffset(0.005), TwoStateClock(per_arm=True)))
    arms = [Arm(name, lambda inputs, output: output, False) for name in ("candidate", "reference")]
    fake = FakeDevice(lambda name: 1e-4, noise, seed=7)
    watch = fake.stopwatch(arms, Workload(lambda seed: (), lambda inputs: None))
    # Probes need an answer, of which these arms have none: without them a race's samples are the same.
    alone = race.run(Unprobed(watch), (), race.Plan(10.0, 7, rounds=5), fake.clock)
    (pair,) = joint(lambda name: 1e-4, noise, 1, 5, seed=7)
    assert np.array_equal(pair.race.candidate, alone.candidate)
    assert np.array_equal(pair.race.reference, alone.reference)
    assert pair.race.ratio == alone.ratio


class Unprobed:
    """A stopwatch to which no round is a probed one."""

    def __init__(self, watch) -> None:
        self._watch = watch

    def __getattr__(self, name: str):
        return getattr(self._watch, name)

    def round(self, seeds, order):
        return self._watch.round(type(seeds)(seeds.values, seeds.layout), order)


@pytest.mark.parametrize(("samples", "run_length"), [(2, 1), (3, 1), (10, 1), (10, 5), (7, 5)])
def test_every_arm_has_its_samples_in_an_order_that_is_new_each_round(samples: int, run_length: int) -> None:
    rng = np.random.default_rng(1)
    orders = [tuple(shuffled_order(rng, samples, run_length, arms=6).tolist()) for _ in range(20)]
    assert all(set(Counter(order).items()) == {(arm, samples) for arm in range(6)} for order in orders)
    assert len(set(orders)) == 20
    firsts = Counter(order[0] for order in orders)
    assert len(firsts) > 3
    if samples == 2:  # what rises evenly within the round moves no arm against another
        assert all(order == order[::-1] for order in orders)


def test_what_disturbed_the_rounds_is_told_of_each_candidate() -> None:
    pairs = joint(lambda name: 1e-4, White(0.01), 3, 6, seed=1, machine=lambda done: Reading(foreign_processes=1))
    assert all("had the GPU open" in pair.found.reasons[0].text for pair in pairs)


RELU = Problem("relu", lambda g: (torch.randn(64, generator=g),), torch.relu, exact=lambda x: torch.relu(x.double()))


def requests(*candidates, problem: Problem = RELU) -> list[Request]:
    settings = Settings(seed=3, rounds=4)
    return [Request(f"test[{n}]", 0, one, problem, (), None, settings) for n, one in enumerate(candidates)]


def means(device: FakeDevice) -> together.Means:
    return together.Means(device, ReferencePicker(), "fake", lambda complaint: None)


def test_a_race_that_breaks_off_blames_none_of_its_candidates() -> None:
    class Breaks(FakeDevice):
        def stopwatch(self, arms, workload, *, timer="auto", cache="hot"):
            for arm in arms:
                arm.call(workload.draw(0), None)
            return super().stopwatch(arms, workload, timer=timer, cache=cache)

    def faulty(x):
        raise ZeroDivisionError("now and then")

    device = Breaks(lambda name: 1e-5)
    good, bad = together.run(requests(torch.relu, faulty), means(device))
    assert good.invalid == bad.invalid
    assert (good.invalid or "").startswith("the race that 2 candidates shared broke off: A candidate or the reference")
    assert "now and then" in (good.invalid or "")


def test_candidates_for_two_problems_are_refused() -> None:
    other = Problem("gelu", RELU.inputs, torch.nn.functional.gelu, exact=lambda x: torch.nn.functional.gelu(x.double()))
    with pytest.raises(UsageError, match="the test made two: relu and gelu"):
        together.run(
            [*requests(torch.relu), *requests(torch.relu, problem=other)], means(FakeDevice(lambda name: 1e-5))
        )
