"""The kinds of noise that the samples of a fake device can have.

Noise lives on the log scale and in slots, the order in which samples are taken, because what disturbs a real device
(clocks, heat, neighbours) goes on in time whichever arm is being timed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Protocol

import numpy as np

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Floats


class Noise(Protocol):
    """A random process that disturbs the samples of one race."""

    def draw(self, rng: np.random.Generator, rounds: int, slots: int, arms: int = 2) -> Floats:
        """What is added to the log latencies: an array that broadcasts to (arms, rounds, slots of a round)."""
        ...


def of_arms(noise: Noise, rng: np.random.Generator, rounds: int, slots: int, arms: int) -> Floats:
    """What this noise adds to the log latencies of so many arms; one of a user's own may know of two only."""
    return noise.draw(rng, rounds, slots) if arms == 2 else noise.draw(rng, rounds, slots, arms)


@dataclass(frozen=True)
class White:
    """Independent lognormal noise: what is left when nothing is wrong."""

    sd: float = 0.02

    def draw(self, rng: np.random.Generator, rounds: int, slots: int, arms: int = 2) -> Floats:
        return self.sd * rng.standard_normal((1, rounds, slots))


@dataclass(frozen=True)
class Autoregressive:
    """Stationary AR(1) over slots, shared by the arms or one for each."""

    rho: float = 0.95
    sd: float = 0.03
    per_arm: bool = False

    def draw(self, rng: np.random.Generator, rounds: int, slots: int, arms: int = 2) -> Floats:
        from scipy.signal import lfilter  # imports half of scipy

        shocks = rng.standard_normal((arms if self.per_arm else 1, rounds * slots)) * self.sd
        shocks[:, 1:] *= np.sqrt(1 - self.rho**2)
        series = lfilter([1.0], [1.0, -self.rho], shocks, axis=1)
        return np.asarray(series, dtype=np.float64).reshape(-1, rounds, slots)


@dataclass(frozen=True)
class Drift:
    """The device heats up and slows down (below 0: boosts), exponentially, over some `slots`."""

    total: float = 0.05
    slots: float = 100.0

    def draw(self, rng: np.random.Generator, rounds: int, slots: int, arms: int = 2) -> Floats:
        series = self.total * (1 - np.exp(-np.arange(rounds * slots) / self.slots))
        return series.reshape(1, rounds, slots)


@dataclass(frozen=True)
class TwoStateClock:
    """A clock that jumps between two speeds and stays a while, shared by the arms or one for each."""

    slow_share: float = 0.5
    """Long-run share of slots in the slow state."""
    dwell: float = 100.0
    """Mean number of slots that a slow spell lasts."""
    jump: float = 0.08
    per_arm: bool = False

    def draw(self, rng: np.random.Generator, rounds: int, slots: int, arms: int = 2) -> Floats:
        clocks = arms if self.per_arm else 1
        slow = np.stack([self._slow(rng, rounds * slots) for _ in range(clocks)])
        return self.jump * slow.reshape(clocks, rounds, slots)

    def _slow(self, rng: np.random.Generator, length: int) -> Floats:
        """1.0 in slow slots. Spells are geometric, hence memoryless: the first is as long as any other."""
        leave = np.array([self.slow_share / (1 - self.slow_share), 1.0]) / self.dwell  # of fast, of slow
        first = int(rng.random() < self.slow_share)
        pieces: list[Floats] = []
        drawn = 0
        while drawn < length:
            spells = 2 * (8 + int(length / (1 / leave).sum()))
            states = (first + np.arange(spells)) % 2
            pieces.append(np.repeat(states.astype(np.float64), rng.geometric(leave[states])))
            drawn += len(pieces[-1])
        return np.concatenate(pieces)[:length]


@dataclass(frozen=True)
class PowerCap:
    """A clock that the power cap takes down within each round, at any place of it: it rested while the round was made.

    Its steps are drawn ahead from a seed of its own, so that the device can report them as a GPU's clock is read.
    """

    seed: int
    largest: float = 0.04
    """Steps lie evenly between none and this fraction."""
    rounds: int = 96

    def steps(self) -> tuple[Floats, Floats]:
        """For each round, the fraction by which the clock falls, and where, from 0 (its begin) to 1."""
        rng = np.random.default_rng(self.seed)
        return self.largest * rng.random(self.rounds), rng.random(self.rounds)

    def draw(self, rng: np.random.Generator, rounds: int, slots: int, arms: int = 2) -> Floats:
        steps, places = (np.resize(values, rounds)[:, None] for values in self.steps())
        return (-np.log1p(-steps) * (np.arange(slots) >= places * slots))[None]

    def evidence(self, done: int) -> dict[str, float]:
        """What a round reads of the clock, by the number of rounds before it."""
        step = float(self.steps()[0][done % self.rounds])
        return {"sm_clock_hz": 1.98e9 * (1 - step / 2), "sm_clock_change": -step}


@dataclass(frozen=True)
class Outliers:
    """Rare samples that are many times too long: an interrupt, another process, a page fault."""

    share: float = 0.01
    factor: float = 10.0

    def draw(self, rng: np.random.Generator, rounds: int, slots: int, arms: int = 2) -> Floats:
        hit = rng.random((1, rounds, slots)) < self.share
        return np.asarray(np.log(self.factor) * hit, dtype=np.float64)


@dataclass(frozen=True)
class Skewed:
    """Independent noise with a long tail to the slow side: exponential, less its centre."""

    scale: float = 0.03
    centre: float = math.log(2)
    """In units of `scale`, which latency is the true one: log 2 for the median of all samples, 0.8076 for the
    interquartile mean of ten (at a scale of 0.03; by simulation, to the last digit)."""

    def draw(self, rng: np.random.Generator, rounds: int, slots: int, arms: int = 2) -> Floats:
        return self.scale * (rng.standard_exponential((1, rounds, slots)) - self.centre)


@dataclass(frozen=True)
class OnlyArm:
    """Noise on one of the arms only."""

    arm: int
    """0 for the candidate, 1 for the reference."""
    noise: Noise

    def draw(self, rng: np.random.Generator, rounds: int, slots: int, arms: int = 2) -> Floats:
        drawn = of_arms(self.noise, rng, rounds, slots, arms)
        total = np.zeros((arms, rounds, slots))
        total[self.arm] = np.broadcast_to(drawn, total.shape)[self.arm]
        return total


@dataclass(frozen=True)
class RoundOffset:
    """An offset of each arm for each round: the effect of addresses, captured graphs, whatever a round makes anew."""

    sd: float = 0.005

    def draw(self, rng: np.random.Generator, rounds: int, slots: int, arms: int = 2) -> Floats:
        return self.sd * rng.standard_normal((arms, rounds, 1))


@dataclass(frozen=True)
class RaceOffset:
    """An offset of each arm that lasts the whole race, so that no number of rounds averages it out."""

    sd: float = 0.005

    def draw(self, rng: np.random.Generator, rounds: int, slots: int, arms: int = 2) -> Floats:
        return self.sd * rng.standard_normal((arms, 1, 1))


@dataclass(frozen=True)
class Mixture:
    """The sum of several kinds of noise."""

    parts: tuple[Noise, ...]

    def draw(self, rng: np.random.Generator, rounds: int, slots: int, arms: int = 2) -> Floats:
        total = np.zeros((arms, rounds, slots))
        for part in self.parts:
            total += of_arms(part, rng, rounds, slots, arms)
        return total
