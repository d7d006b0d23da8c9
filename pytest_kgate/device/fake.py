"""A device with a made-up clock: known latencies, any noise, no hardware.

The whole plugin, its stopping rule and its error rates are tested on it, for only here is the truth
known. Noise lives on the log scale and in slots, the order in which samples are taken, because what
disturbs a real device (clocks, heat, neighbours) goes on in time whichever arm is being timed.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol

import numpy as np

from pytest_kgate.device.base import Probe
from pytest_kgate.device.base import Round
from pytest_kgate.evidence import require_cold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_kgate.device.base import Arm
    from pytest_kgate.device.base import Workload
    from pytest_kgate.evidence import Cold
    from pytest_kgate.evidence import Reading

    Floats = NDArray[np.float64]

_ROUNDS_AHEAD = 96
"""Noise is drawn for this many rounds at once, the length of a full race; a longer race starts it anew."""


class Noise(Protocol):
    """A noise process of one race."""

    def draw(self, rng: np.random.Generator, rounds: int, slots: int) -> Floats:
        """Log latency added, (arm, round, slot in the round); broadcasts to (2, rounds, slots)."""
        ...


@dataclass(frozen=True)
class White:
    """Independent lognormal noise: what is left when nothing is wrong."""

    sd: float = 0.02

    def draw(self, rng: np.random.Generator, rounds: int, slots: int) -> Floats:
        return self.sd * rng.standard_normal((1, rounds, slots))


@dataclass(frozen=True)
class Autoregressive:
    """Stationary AR(1) over slots, shared by the arms or one for each."""

    rho: float = 0.95
    sd: float = 0.03
    per_arm: bool = False

    def draw(self, rng: np.random.Generator, rounds: int, slots: int) -> Floats:
        from scipy.signal import lfilter  # imports half of scipy

        shocks = rng.standard_normal((2 if self.per_arm else 1, rounds * slots)) * self.sd
        shocks[:, 1:] *= np.sqrt(1 - self.rho**2)
        series = lfilter([1.0], [1.0, -self.rho], shocks, axis=1)
        return np.asarray(series, dtype=np.float64).reshape(-1, rounds, slots)


@dataclass(frozen=True)
class Drift:
    """The device heats up and slows down (below 0: boosts), exponentially, over some `slots`."""

    total: float = 0.05
    slots: float = 100.0

    def draw(self, rng: np.random.Generator, rounds: int, slots: int) -> Floats:
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

    def draw(self, rng: np.random.Generator, rounds: int, slots: int) -> Floats:
        arms = 2 if self.per_arm else 1
        slow = np.stack([self._slow(rng, rounds * slots) for _ in range(arms)])
        return self.jump * slow.reshape(arms, rounds, slots)

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
class Outliers:
    """Now and then a sample is many times too long: an interrupt, another process, a page fault."""

    share: float = 0.01
    factor: float = 10.0

    def draw(self, rng: np.random.Generator, rounds: int, slots: int) -> Floats:
        hit = rng.random((1, rounds, slots)) < self.share
        return np.asarray(np.log(self.factor) * hit, dtype=np.float64)


@dataclass(frozen=True)
class Skewed:
    """Independent noise with a long tail to the slow side: exponential, less its centre."""

    scale: float = 0.03
    centre: float = math.log(2)
    """In units of `scale`, which latency is the true one: log 2 for the median of all samples, 0.8076 for the
    interquartile mean of ten (at a scale of 0.03; by simulation, to the last digit)."""

    def draw(self, rng: np.random.Generator, rounds: int, slots: int) -> Floats:
        return self.scale * (rng.standard_exponential((1, rounds, slots)) - self.centre)


@dataclass(frozen=True)
class OnlyArm:
    """Noise that one arm has and the other has not."""

    arm: int
    """0 for the candidate, 1 for the reference."""
    noise: Noise

    def draw(self, rng: np.random.Generator, rounds: int, slots: int) -> Floats:
        drawn = self.noise.draw(rng, rounds, slots)
        total = np.zeros((2, rounds, slots))
        total[self.arm] = np.broadcast_to(drawn, total.shape)[self.arm]
        return total


@dataclass(frozen=True)
class RoundOffset:
    """Each arm's own offset that lasts one round: addresses, captured graphs, whatever a round makes anew."""

    sd: float = 0.005

    def draw(self, rng: np.random.Generator, rounds: int, slots: int) -> Floats:
        return self.sd * rng.standard_normal((2, rounds, 1))


@dataclass(frozen=True)
class RaceOffset:
    """Each arm's own offset that lasts the whole race: what no number of rounds can see."""

    sd: float = 0.005

    def draw(self, rng: np.random.Generator, rounds: int, slots: int) -> Floats:
        return self.sd * rng.standard_normal((2, 1, 1))


@dataclass(frozen=True)
class Mixture:
    """Several kinds of noise at once."""

    parts: tuple[Noise, ...]

    def draw(self, rng: np.random.Generator, rounds: int, slots: int) -> Floats:
        total = np.zeros((2, rounds, slots))
        for part in self.parts:
            total += part.draw(rng, rounds, slots)
        return total


class FakeDevice:
    """A `Device` of made-up latencies; correctness is still checked on the real callables, on the CPU."""

    kind = "fake"
    torch_device = "cpu"

    def __init__(
        self,
        latency_seconds: Mapping[str, float] | Callable[[str], float],
        noise: Noise | None = None,
        *,
        seed: int = 42,
        tick_seconds: float = 0.0,
        overhead_seconds: float = 0.0,
        round_seconds: float = 1e-3,
        faults: Mapping[int, float] | None = None,
        evidence: Callable[[int], Mapping[str, float]] | None = None,
        machine: Callable[[int], Reading] | None = None,
        cold: Cold | None = None,
    ) -> None:
        """
        latency_seconds: the truth, by arm name (`candidate`, `reference`). noise: None for none, so that
        every sample is the truth. tick_seconds: the step of the clock; a sample is the difference of two
        floored readings at a random phase. overhead_seconds: added to each reading and taken off again,
        as a null arm would show it. round_seconds: what making everything anew costs on the device's own
        clock, each round. faults: by round, from 0, the net seconds that the candidate's first sample
        reads instead: NaN, below 0. evidence: what a round reads of the device, by the number of rounds of
        all races before; `retaken` among it is the round's. machine: likewise, what is read between rounds.
        cold: what proves a cold cache.
        """
        self.latency_seconds = latency_seconds if callable(latency_seconds) else latency_seconds.__getitem__
        self.noise = noise
        self.seed = seed
        self.tick_seconds = tick_seconds
        self.overhead_seconds = overhead_seconds
        self.round_seconds = round_seconds
        self.faults = dict(faults or {})
        self.evidence = evidence
        self.machine = machine
        self.cold = cold
        self.rounds = 0
        self.now_seconds = 0.0
        self._races = 0

    def environment(self) -> dict[str, Any]:
        return {
            "device": self.kind,
            "noise": repr(self.noise),
            "seed": self.seed,
            "tick_seconds": self.tick_seconds,
        }

    def stopwatch(
        self, arms: Sequence[Arm], workload: Workload, *, timer: str = "auto", cache: str = "hot"
    ) -> FakeStopwatch:
        """Any timer is taken, and reported as `fake`. Every race has noise of its own."""
        self._races += 1
        return FakeStopwatch(self, arms, workload, cache, np.random.default_rng([self.seed, self._races]))

    @contextlib.contextmanager
    def running(self, doing: str) -> Iterator[None]:
        """Candidates really run here, on the CPU, for their answers."""
        yield

    def synchronize(self) -> None:
        """Nothing is ever under way."""

    def clock(self) -> float:
        return self.now_seconds

    def read_machine(self) -> Reading | None:
        return self.machine(self.rounds) if self.machine is not None else None


class FakeStopwatch:
    """Times nothing: every sample is the arm's true latency under the device's noise."""

    timer = "fake"
    run_length = 1

    def __init__(
        self,
        device: FakeDevice,
        arms: Sequence[Arm],
        workload: Workload,
        cache: str,
        rng: np.random.Generator,
    ) -> None:
        self.cache = cache
        self.warnings: list[str] = []
        self.tick_seconds = device.tick_seconds
        self._device = device
        self._arms = arms
        self._workload = workload
        self._rng = rng
        self._truth = np.array([device.latency_seconds(arm.name) for arm in arms])
        self._overhead = np.full(len(arms), device.overhead_seconds)
        self._rounds = 0
        self._latency = np.empty((2, 0, 0))
        self._phase = np.empty((0, 0))

    @property
    def sample_seconds(self) -> float:
        return float(self._truth.sum() + self._overhead.sum())

    def round(self, seed: int, order: NDArray[np.intp], probe_seed: int | None = None) -> Round:
        device = self._device
        slots = len(order)
        ahead = self._rounds % _ROUNDS_AHEAD
        if ahead == 0 or slots != self._latency.shape[2]:
            self._draw(slots)
        readings = self._latency[order, ahead, np.arange(slots)] + device.overhead_seconds
        if device.tick_seconds:
            tick = device.tick_seconds
            readings = np.maximum(np.floor(self._phase[ahead] + readings / tick), 1.0) * tick
        device.now_seconds += float(readings.sum()) + device.round_seconds
        seconds = np.stack([readings[order == arm] for arm in (0, 1)]) - device.overhead_seconds
        if self._rounds in device.faults:
            seconds[0, 0] = device.faults[self._rounds]
        self._rounds += 1
        evidence = dict(device.evidence(device.rounds)) if device.evidence is not None else {}
        device.rounds += 1
        retaken = int(evidence.pop("retaken", 0))
        probe = None if probe_seed is None else self._probe(probe_seed)
        return Round(seconds, self._overhead, retaken, evidence, probe)

    def prove_cold(self) -> Cold | None:
        return require_cold(self._device.cold) if self._device.cold is not None else None

    def _probe(self, seed: int) -> Probe:
        """Runs the real candidate, once; new values take no time of their own."""
        inputs = self._workload.draw(seed)
        candidate = self._arms[0]
        output = self._workload.make_output(inputs) if candidate.takes_output else None
        return Probe(((seed, candidate.call(inputs, output)),), (0.0, 0.0))

    def close(self) -> None:
        pass

    def _draw(self, slots: int) -> None:
        """Latencies of both arms in each of the slots to come; a slot then reads the arm that it times."""
        shape = (2, _ROUNDS_AHEAD, slots)
        noise = self._device.noise
        log_noise = np.zeros(shape) if noise is None else noise.draw(self._rng, _ROUNDS_AHEAD, slots)
        self._latency = self._truth[:, None, None] * np.exp(np.broadcast_to(log_noise, shape))
        if self._device.tick_seconds:
            self._phase = self._rng.random(shape[1:])
