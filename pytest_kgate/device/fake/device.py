"""A device with a made-up clock: known latencies, any noise, no hardware.

The whole plugin, its stopping rule and its error rates are tested on it, for only here is the truth
known. `noise.py` has what its samples may suffer from.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from pytest_kgate.device.fake.noise import of_arms
from pytest_kgate.device.protocol import FirstLook
from pytest_kgate.device.protocol import Probe
from pytest_kgate.device.protocol import Round
from pytest_kgate.device.protocol import RoundSeeds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_kgate.device.arm import Arm
    from pytest_kgate.device.fake.noise import Noise
    from pytest_kgate.device.protocol import ColdCache
    from pytest_kgate.device.protocol import Reading
    from pytest_kgate.device.protocol import Workload

_ROUNDS_AHEAD = 96
"""Noise is drawn for this many rounds at once, the length of a full race; a longer race starts it anew."""


class FakeDevice:
    """A `Device` of made-up latencies; correctness is still checked on the real callables, on the CPU."""

    kind = "fake"
    torch_device = "cpu"
    hung = False

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
        cold: ColdCache | None = None,
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
        """A stopwatch with noise of its own for each race; any timer may be named, and `fake` is reported."""
        self._races += 1
        return FakeStopwatch(self, arms, workload, cache, np.random.default_rng([self.seed, self._races]))

    @contextlib.contextmanager
    def running(self, doing: str) -> Iterator[None]:
        """Candidates really run here, on the CPU, for their answers."""
        yield

    def synchronize(self) -> None:
        """Do nothing: no work is ever under way."""

    def clock(self) -> float:
        return self.now_seconds

    def admit(self, pid: int) -> None:
        """Do nothing: no process can disturb this device."""

    def available_bytes(self) -> int | None:
        """None: it has no memory of its own."""
        return None

    def read_machine(self) -> Reading | None:
        return self.machine(self.rounds) if self.machine is not None else None


class FakeStopwatch:
    """Times nothing: every sample is the arm's true latency under the device's noise."""

    timer = "fake"
    run_length = 1
    offset_sd = 0.0
    enough_seconds = 8e-3

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
        self._latency = np.empty((len(arms), 0, 0))
        self._phase = np.empty((0, 0))

    @property
    def sample_seconds(self) -> float:
        return float(self._truth.sum() + self._overhead.sum())

    @property
    def reference_seconds(self) -> float:
        return float(self._truth[1])

    def round(self, seeds: RoundSeeds, order: NDArray[np.intp]) -> Round:
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
        by_arm = np.argsort(order, kind="stable").reshape(len(self._arms), -1)
        seconds = readings[by_arm] - device.overhead_seconds
        if self._rounds in device.faults:
            seconds[0, 0] = device.faults[self._rounds]
        self._rounds += 1
        evidence = dict(device.evidence(device.rounds)) if device.evidence is not None else {}
        device.rounds += 1
        retaken = int(evidence.pop("retaken", 0))
        probe = self._probe(seeds.probes[0]) if seeds.probes else None
        return Round(seconds, self._overhead, retaken, evidence, probe)

    def prove_cold(self) -> ColdCache | None:
        cold = self._device.cold if self.cache == "cold" else None
        return None if cold is None else cold.required()

    def _probe(self, seed: int) -> Probe:
        """Run the real candidate once for the probe's answer; new values cost no time here."""
        inputs = self._workload.draw(seed)
        candidate = self._arms[0]
        output = self._workload.output_for(candidate, inputs)
        look = FirstLook(0.0, (0.0,))
        return Probe(((seed, candidate.call(inputs, output)),), (look, look))

    def close(self) -> None:
        pass

    def _draw(self, slots: int) -> None:
        """Draw the latencies of all arms for each slot of the rounds ahead; a slot then reads that of its arm."""
        shape = (len(self._arms), _ROUNDS_AHEAD, slots)
        noise = self._device.noise
        log_noise = (
            np.zeros(shape) if noise is None else of_arms(noise, self._rng, _ROUNDS_AHEAD, slots, len(self._arms))
        )
        self._latency = self._truth[:, None, None] * np.exp(np.broadcast_to(log_noise, shape))
        if self._device.tick_seconds:
            self._phase = self._rng.random(shape[1:])
