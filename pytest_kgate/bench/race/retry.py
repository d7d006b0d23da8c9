"""A race that is watched, and run once more where its evidence is not to be trusted.

Between rounds the machine is asked what disturbs it, sparsely: such a reading costs 0.3 to 2 ms, as much as some
rounds. The second race takes the place of the first because the first's evidence was bad, whatever the first's
verdict was, and there is never a third.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.bench import seeds
from pytest_kgate.bench.race import race
from pytest_kgate.bench.race.disturbances import Disturbances
from pytest_kgate.bench.race.disturbances import RaceLog
from pytest_kgate.bench.race.disturbances import assess
from pytest_kgate.bench.race.order_effects import ArmOrder
from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.device.protocol import Reading
from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.errors import TimingError

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import ColdCache
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.device.protocol import Round
    from pytest_kgate.device.protocol import Stopwatch
    from pytest_kgate.statistics.gates import SpeedGate

_EARLY_ROUNDS = (1, 6)
"""Readings after these: the first round under load, and the middle of the shortest race there is."""

_EVERY_SECONDS = 0.25
"""And one whenever so much time has passed: at 2 ms a reading, under 1 % of a long race."""


@dataclass(frozen=True)
class ValidRace:
    """The race that counts."""

    race: race.Race
    seed: int
    """Of that race."""
    facts: dict[str, Any]
    """For the record."""
    invalid: str | None
    """Why it is not to be trusted, in both tries; None where it is."""
    warnings: tuple[str, ...]


def race_with_retry(
    device: Device,
    stopwatch: Stopwatch,
    gates: Sequence[SpeedGate],
    plan: race.Plan,
    progress: Callable[[race.Progress], None] | None = None,
) -> ValidRace:
    """Race; race again, with another seed and a budget of its own, where the evidence is bad or timing broke off.

    Raises `TimingError` where the second race breaks off, too.
    """
    again = replace(plan, seed=SeedBook(plan.seed).page(Stream.SECOND_RACE).root)
    try:
        result, found = _watched(device, stopwatch, gates, plan, progress)
    except TimingError as error:
        tries, bad = [{"seed": seeds.text(plan.seed), "reasons": [error.what]}], error.what
    else:
        tries, bad = [_try(plan, result, found)], "; ".join(found.reasons)
    seed, warnings = plan.seed, list[str]()
    if bad:
        try:
            result, found = _watched(device, stopwatch, gates, again, progress)
        except TimingError as error:
            before = "so did" if error.what == bad else f"not to be trusted ({bad}) was"
            raise TimingError(f"{error.what} It was raced twice: {before} the race before.", error.todo) from error
        tries.append(_try(again, result, found))
        seed, warnings = again.seed, [f"raced a second time, for in the first race {bad.rstrip('.')}"]
    return ValidRace(
        race=result,
        seed=seed,
        facts={**found.facts, "tries": tries},
        invalid=f"{'; '.join(found.reasons)} (the second of two races)" if found.reasons else None,
        warnings=(*warnings, *found.warnings),
    )


def _try(plan: race.Plan, result: race.Race, found: Disturbances) -> dict[str, Any]:
    return {
        "seed": seeds.text(plan.seed),
        "rounds": result.rounds,
        "seconds_spent": result.spent_seconds,
        "verdicts": [one.verdict.value for one in result.judgements],
        "reasons": list(found.reasons),
    }


def _watched(
    device: Device,
    stopwatch: Stopwatch,
    gates: Sequence[SpeedGate],
    plan: race.Plan,
    progress: Callable[[race.Progress], None] | None,
) -> tuple[race.Race, Disturbances]:
    cold = stopwatch.prove_cold()
    watch = _Watch(stopwatch, device)
    result = race.run(watch, gates, plan, device.clock, progress)
    watch.read()
    seen = RaceLog(
        watch.rounds,
        watch.orders,
        watch.ended,
        watch.readings,
        stopwatch.tick_seconds,
        stopwatch.sample_seconds,
        cold,
    )
    return result, assess(seen)


class _Watch:
    """A stopwatch that keeps what its rounds were, and reads the machine between some of them."""

    def __init__(self, stopwatch: Stopwatch, device: Device) -> None:
        self.timer = stopwatch.timer
        self.cache = stopwatch.cache
        self.warnings = stopwatch.warnings
        self.tick_seconds = stopwatch.tick_seconds
        self.run_length = stopwatch.run_length
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
        return self._stopwatch.prove_cold()

    def round(self, seeds: RoundSeeds, order: ArmOrder) -> Round:
        now = self._device.clock()
        if self.rounds and (len(self.rounds) in _EARLY_ROUNDS or now - self._read_at > _EVERY_SECONDS):
            self.read()
        self.rounds.append(self._stopwatch.round(seeds, order))
        self.orders.append(order)
        self.ended.append(self._device.clock())
        return self.rounds[-1]

    def read(self) -> None:
        """Ask the machine; nothing where it can't be asked."""
        reading = self._device.read_machine()
        self._read_at = self._device.clock()
        if reading is not None:
            self.readings.append((len(self.rounds), reading))

    def close(self) -> None:
        self._stopwatch.close()
