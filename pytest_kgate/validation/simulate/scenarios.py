"""The kinds of noise under which the gate's error rates are counted, and how large they are.

Their sizes are assumed, not measured: larger than on a quiet GPU, since the rates must hold on a noisy one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.fake.noise import Autoregressive
from pytest_kgate.device.fake.noise import Drift
from pytest_kgate.device.fake.noise import Mixture
from pytest_kgate.device.fake.noise import Noise
from pytest_kgate.device.fake.noise import OnlyArm
from pytest_kgate.device.fake.noise import Outliers
from pytest_kgate.device.fake.noise import PowerCap
from pytest_kgate.device.fake.noise import RaceOffset
from pytest_kgate.device.fake.noise import RoundOffset
from pytest_kgate.device.fake.noise import Skewed
from pytest_kgate.device.fake.noise import TwoStateClock
from pytest_kgate.device.fake.noise import White
from pytest_kgate.device.protocol import Reading
from pytest_kgate.errors import UsageError

_POWER_CAP = 0x04
"""NVML's clocks event reason."""

_PHASE = 0.03
"""The reference's latency differs from gate to gate by up to this fraction, so that ticks cut it anywhere."""

_SLOW = 20e-3
"""Seconds of a kernel whose rounds have the fewest samples."""


@dataclass(frozen=True)
class Scenario:
    """One kind of noise, with the fake device that has it and the error rate that is allowed under it."""

    name: str
    """For `--only`."""
    title: str
    """For tables."""
    noise: Noise
    limit: float | None = 0.03
    """False passes may be this frequent at the boundary; None where the rule cannot promise anything."""
    reference_seconds: float = 100e-6
    tick_seconds: float = 0.0
    processes: int = 1
    """The value of --kgate-processes; an offset that lasts a race then lasts one process."""
    power_cap: bool = False
    """Whether the clock also falls within each round, reads so, and the driver names the power cap as the reason."""

    def device(self, ratio: float, seed: int) -> FakeDevice:
        """A simulated device on which the candidate's latency is `ratio` times the reference's."""
        jitter = np.random.default_rng(seed).uniform(-_PHASE, _PHASE)
        seconds = self.reference_seconds * (1 + jitter)
        truth = {"candidate": ratio * seconds, "reference": seconds}
        if not self.power_cap:
            return FakeDevice(truth, self.noise, seed=seed, tick_seconds=self.tick_seconds)
        cap = PowerCap(seed)
        return FakeDevice(
            truth,
            Mixture((self.noise, cap)),
            seed=seed,
            evidence=cap.evidence,
            machine=lambda rounds: Reading(throttle=_POWER_CAP if rounds > 1 else 0),
        )


def _with_white(*parts: Noise, sd: float = 0.01) -> Mixture:
    return Mixture((White(sd), *parts))


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("independent", "independent, 2 %", White(0.02)),
    Scenario("ar50", "AR(1) .5 of 3 %, shared by the arms", _with_white(Autoregressive(0.5, 0.03))),
    Scenario("ar80", "AR(1) .8 of 3 %, shared", _with_white(Autoregressive(0.8, 0.03))),
    Scenario("ar95", "AR(1) .95 of 3 %, shared", _with_white(Autoregressive(0.95, 0.03))),
    Scenario(
        "ar95-own",
        "AR(1) .95 of 1 %, each arm its own",
        _with_white(Autoregressive(0.95, 0.01, per_arm=True)),
        limit=0.055,
    ),
    Scenario("heating", "slows down by 5 % within 100 samples", _with_white(Drift(0.05, 100))),
    Scenario("boosting", "speeds up by 5 % within 100 samples", _with_white(Drift(-0.05, 100))),
    Scenario("ticks", "0.5 us ticks on a 10 us kernel", White(0.02), reference_seconds=10e-6, tick_seconds=0.5e-6),
    Scenario(
        # Ten calls a sample: their independent noise averages out, and one call's share of a tick is a tenth.
        "ticks-ten",
        "0.5 us ticks, ten calls of 10 us a sample",
        White(0.02 / math.sqrt(10)),
        reference_seconds=10e-6,
        tick_seconds=0.05e-6,
    ),
    Scenario("outliers", "1 % of samples ten times too long", _with_white(Outliers(0.01, 10), sd=0.02)),
    Scenario("steps", "clock of two speeds, 8 % apart, shared", _with_white(TwoStateClock(0.5, 100, 0.08))),
    Scenario(
        "steps-own",
        "the same, each arm its own, 10 samples a spell",
        _with_white(TwoStateClock(0.3, 10, 0.08, per_arm=True)),
    ),
    Scenario("power-cap", "power cap: the clock falls by up to 4 % in each round", White(0.005), power_cap=True),
    Scenario(
        "skew",
        "reference with an exponential tail of 3 %, candidate without",
        Mixture((OnlyArm(0, White(0.01)), OnlyArm(1, Skewed(0.03, centre=0.8076)))),
    ),
    Scenario(
        "mixture",
        "AR(1) .95 of 2 %, -3 % drift, outliers, each arm's AR(1) .8 of 0.5 %",
        _with_white(
            Autoregressive(0.95, 0.02), Drift(-0.03, 100), Outliers(0.01, 10), Autoregressive(0.8, 0.005, per_arm=True)
        ),
    ),
    # A kernel of 20 ms has two samples a round. What is correlated lasts about a round, as it does above.
    Scenario(
        "slow",
        "20 ms: 0.01 % a sample, 0.1 % an arm and round",
        Mixture((White(1e-4), RoundOffset(1e-3))),
        reference_seconds=_SLOW,
    ),
    Scenario(
        "slow-own",
        "20 ms: AR(1) .77 of 1 %, each arm its own",
        _with_white(Autoregressive(0.77, 0.01, per_arm=True)),
        limit=0.055,
        reference_seconds=_SLOW,
    ),
    Scenario(
        "slow-mixture",
        "20 ms: AR(1) .77 of 2 %, -3 % drift, 1 % of samples a fifth too long",
        Mixture((White(0.005), Autoregressive(0.77, 0.02), Drift(-0.03, 20), Outliers(0.01, 1.2))),
        reference_seconds=_SLOW,
    ),
    Scenario(
        "skew-median",
        "the tail again, but true is the ratio of medians",
        Mixture((OnlyArm(0, White(0.01)), OnlyArm(1, Skewed(0.03)))),
        limit=None,
    ),
    Scenario(
        "offset",
        "each arm's own offset of 0.5 % for the whole race",
        _with_white(RaceOffset(0.005)),
        limit=None,
    ),
    Scenario(
        "offset-processes",
        "the same offset in each of 5 processes, judged over processes",
        _with_white(RaceOffset(0.005)),
        processes=5,
    ),
)

BY_NAME: Mapping[str, Scenario] = {scenario.name: scenario for scenario in SCENARIOS}


def chosen(names: str | None) -> tuple[Scenario, ...]:
    """The scenarios of a list such as `ar95,ticks`, all where there is none; UsageError at a name unknown."""
    if names is None:
        return SCENARIOS
    unknown = [name for name in names.split(",") if name not in BY_NAME]
    if unknown:
        raise UsageError(f"There is no scenario {', '.join(unknown)}.", f"There are: {', '.join(BY_NAME)}.")
    return tuple(BY_NAME[name] for name in names.split(","))
