"""The fake device tells the truth it was given, under the noise it was given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.fake.device import FakeStopwatch
from pytest_kgate.device.fake.noise import Autoregressive
from pytest_kgate.device.fake.noise import Drift
from pytest_kgate.device.fake.noise import Mixture
from pytest_kgate.device.fake.noise import Noise
from pytest_kgate.device.fake.noise import Outliers
from pytest_kgate.device.fake.noise import RaceOffset
from pytest_kgate.device.fake.noise import RoundOffset
from pytest_kgate.device.fake.noise import TwoStateClock
from pytest_kgate.device.fake.noise import White
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.device.protocol import Stopwatch
from pytest_kgate.device.protocol import Workload

ARMS = [
    Arm(name, lambda inputs, output: ("ran", inputs, output), name == "candidate")
    for name in ("candidate", "reference")
]
WORKLOAD = Workload(lambda seed: (seed,), lambda inputs: f"output for {inputs}")
TRUTH = {"candidate": 9e-6, "reference": 10e-6}
STRICT = np.tile([0, 1], 10)


def _stopwatch(noise: Noise | None = None, **options: Any) -> FakeStopwatch:
    return FakeDevice(TRUTH, noise, **options).stopwatch(ARMS, WORKLOAD)


def _series(noise: Noise, rounds: int = 2000, slots: int = 20) -> np.ndarray[Any, np.dtype[np.float64]]:
    drawn = noise.draw(np.random.default_rng(42), rounds, slots)
    return np.broadcast_to(drawn, (2, rounds, slots)).reshape(2, -1)


def test_it_is_a_device() -> None:
    device: Device = FakeDevice(TRUTH)
    stopwatch: Stopwatch = device.stopwatch(ARMS, WORKLOAD, timer="auto", cache="cold")
    assert (device.kind, device.torch_device, stopwatch.timer, stopwatch.cache) == (
        "fake",
        "cpu",
        "fake",
        "cold",
    )
    assert all(isinstance(value, str | int | float) for value in device.environment().values())
    device.synchronize()
    stopwatch.close()


def test_without_noise_every_sample_is_the_truth() -> None:
    measured = _stopwatch(overhead_seconds=3e-6).round(RoundSeeds(1, 1), STRICT)
    assert measured.seconds.shape == (2, 10)
    assert measured.seconds[0] == pytest.approx(9e-6)
    assert measured.seconds[1] == pytest.approx(10e-6)
    assert measured.overhead_seconds.tolist() == [3e-6, 3e-6]


def test_the_truth_may_be_a_function_of_the_arm() -> None:
    device = FakeDevice(lambda name: 1e-6 if name == "candidate" else 2e-6)
    assert device.stopwatch(ARMS, WORKLOAD).round(RoundSeeds(1, 1), STRICT).seconds.mean(axis=1) == pytest.approx(
        [1e-6, 2e-6]
    )


def test_its_clock_advances_by_what_the_round_took() -> None:
    device = FakeDevice(TRUTH, round_seconds=0.5)
    device.stopwatch(ARMS, WORKLOAD).round(RoundSeeds(1, 1), STRICT)
    assert device.clock() == pytest.approx(0.5 + 10 * 19e-6)


def test_a_seed_repeats_a_device_but_no_two_races_of_it_are_alike() -> None:
    def races(seed: int) -> list[float]:
        device = FakeDevice(TRUTH, White(), seed=seed)
        return [float(device.stopwatch(ARMS, WORKLOAD).round(RoundSeeds(1, 1), STRICT).seconds.sum()) for _ in range(2)]

    assert races(1) == races(1)
    assert len({*races(1), *races(2)}) == 4


def test_noise_goes_on_through_rounds_and_beyond_the_rounds_drawn_ahead() -> None:
    stopwatch = _stopwatch(Drift(0.05, 1000.0))
    means = [stopwatch.round(RoundSeeds(1, 1), STRICT).seconds.mean() for _ in range(100)]
    assert means[:96] == sorted(means[:96])
    assert len(set(means)) == 96  # drawn anew after 96 rounds


def test_shared_noise_hits_the_arm_that_is_timed_in_the_slot() -> None:
    order = np.repeat([0, 1], 10)
    seconds = _stopwatch(Drift(0.5, 10.0)).round(RoundSeeds(1, 1), order).seconds
    assert seconds[0, -1] < 9e-6 * np.exp(0.35)
    assert seconds[1, 0] > 10e-6 * np.exp(0.30)


def test_a_coarse_clock_shows_whole_ticks_that_average_to_the_truth() -> None:
    stopwatch = _stopwatch(tick_seconds=0.7e-6)
    seconds = np.stack([stopwatch.round(RoundSeeds(1, 1), STRICT).seconds for _ in range(200)])
    assert seconds / 0.7e-6 == pytest.approx(np.round(seconds / 0.7e-6))
    assert seconds.mean(axis=(0, 2)) == pytest.approx([9e-6, 10e-6], rel=0.005)


def test_faults_replace_one_sample_of_the_candidate() -> None:
    stopwatch = _stopwatch(faults={1: float("nan"), 2: -1e-6})
    rounds = [stopwatch.round(RoundSeeds(1, 1), STRICT).seconds for _ in range(4)]
    assert [int(np.isnan(seconds).sum()) for seconds in rounds] == [0, 1, 0, 0]
    assert [int((seconds < 0).sum()) for seconds in rounds] == [0, 0, 1, 0]
    assert np.isnan(rounds[1][0, 0])


def test_a_probe_runs_the_real_candidate_on_values_of_its_own() -> None:
    stopwatch = _stopwatch()
    assert stopwatch.round(RoundSeeds(7, 7), STRICT).probe is None
    probe = stopwatch.round(RoundSeeds(8, 8, (9, 10, 11)), STRICT).probe
    assert probe is not None
    assert probe.answers == ((9, ("ran", (9,), "output for (9,)")),)


def test_an_arm_that_allocates_its_own_output_is_given_none() -> None:
    stopwatch = FakeDevice(TRUTH).stopwatch([Arm("candidate", lambda i, o: o, False), ARMS[1]], WORKLOAD)
    probe = stopwatch.round(RoundSeeds(7, 7, (8, 10, 11)), STRICT).probe
    assert probe is not None
    assert probe.answers == ((8, None),)


@pytest.mark.parametrize("per_arm", [False, True])
def test_autoregressive_noise_has_its_spread_and_memory(per_arm: bool) -> None:
    series = _series(Autoregressive(0.9, 0.03, per_arm))
    assert series.std(axis=1) == pytest.approx([0.03, 0.03], rel=0.1)
    for one in series:
        assert np.corrcoef(one[1:], one[:-1])[0, 1] == pytest.approx(0.9, abs=0.02)
    assert abs(np.corrcoef(series)[0, 1]) == pytest.approx(0.0 if per_arm else 1.0, abs=0.1)


@pytest.mark.parametrize("per_arm", [False, True])
def test_two_state_clock_has_its_share_and_dwell(per_arm: bool) -> None:
    series = _series(TwoStateClock(0.3, 10.0, 0.08, per_arm))
    assert set(np.unique(series)) == {0.0, 0.08}
    for one in series:
        assert (one > 0).mean() == pytest.approx(0.3, abs=0.03)
        spells = (np.diff(one) > 0).sum()
        assert (one > 0).sum() / spells == pytest.approx(10.0, rel=0.1)
    assert np.array_equal(*series) is not per_arm


def test_outliers_come_as_often_and_as_far_as_asked() -> None:
    series = _series(Outliers(0.01, 10.0))
    assert (series > 0).mean() == pytest.approx(0.01, abs=0.002)
    assert series.max() == pytest.approx(np.log(10.0))


def test_offsets_last_as_long_as_they_say() -> None:
    by_round = _series(RoundOffset(0.005)).reshape(2, 2000, 20)
    assert (by_round == by_round[:, :, :1]).all()
    assert by_round[:, :, 0].std(axis=1) == pytest.approx([0.005, 0.005], rel=0.1)
    assert len(np.unique(_series(RaceOffset(0.005)))) == 2


def test_a_mixture_adds_its_parts() -> None:
    mixed = _series(Mixture((Drift(0.1, 50.0), Drift(-0.03, 50.0))))
    assert mixed == pytest.approx(_series(Drift(0.07, 50.0)))
