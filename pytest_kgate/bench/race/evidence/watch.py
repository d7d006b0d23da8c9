"""A stopwatch that is watched: it logs each round, and reads what disturbs the machine between some of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_kgate.bench.race.evidence.disturbances import RaceLog
from pytest_kgate.bench.race.evidence.order_effects import ArmOrder
from pytest_kgate.device.protocol import Reading
from pytest_kgate.device.protocol import Round
from pytest_kgate.device.protocol import RoundSeeds

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import ColdCache
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.device.protocol import Stopwatch

_EARLY_ROUNDS = (1, 6)
"""Readings after these: the first round under load, and the middle of the shortest race there is."""

_EVERY_SECONDS = 0.25
"""And a reading whenever so much time has passed: at 2 ms each, they take under 1 % of a long race."""


class Watch:
    """A stopwatch that logs each round, and reads what disturbs the machine between some of them."""

    def __init__(self, stopwatch: Stopwatch, device: Device) -> None:
        """Proves first that a cold cache is cold; raises `TimingError` where it is not."""
        self._cold = stopwatch.prove_cold()
        self.timer = stopwatch.timer
        self.cache = stopwatch.cache
        self.warnings = stopwatch.warnings
        self.tick_seconds = stopwatch.tick_seconds
        self.offset_sd = stopwatch.offset_sd
        self.run_length = stopwatch.run_length
        self.enough_seconds = stopwatch.enough_seconds
        self.rounds: list[Round] = []
        self.orders: list[ArmOrder] = []
        self.ended: list[float] = []
        self.readings: list[tuple[int, Reading]] = []
        self._stopwatch = stopwatch
        self._device = device
        self._read_at = 0.0
        self.read()

    @property
    def sample_seconds(self) -> float:
        return self._stopwatch.sample_seconds

    @property
    def reference_seconds(self) -> float:
        return self._stopwatch.reference_seconds

    def prove_cold(self) -> ColdCache | None:
        return self._cold

    def round(self, seeds: RoundSeeds, order: ArmOrder) -> Round:
        now = self._device.clock()
        if self.rounds and (len(self.rounds) in _EARLY_ROUNDS or now - self._read_at > _EVERY_SECONDS):
            self.read()
        taken = self._stopwatch.round(seeds, order)
        self.rounds.append(replace(taken, probe=None))  # whose answers are large
        self.orders.append(order)
        self.ended.append(self._device.clock())
        return taken

    def read(self) -> None:
        """Take one reading of the machine, where the device offers any."""
        reading = self._device.read_machine()
        self._read_at = self._device.clock()
        if reading is not None:
            self.readings.append((len(self.rounds), reading))

    def log(self) -> RaceLog:
        """All that was seen, with a last reading; call it once the race is over."""
        self.read()
        return RaceLog(
            self.rounds,
            self.orders,
            self.ended,
            self.readings,
            self._stopwatch.tick_seconds,
            self._stopwatch.sample_seconds,
            self._cold,
        )

    def close(self) -> None:
        self._stopwatch.close()
