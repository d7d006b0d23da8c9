"""What the protocol needs of a device kind: its cases as arms, and instruments of known latency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Workload
from pytest_kgate.validation.calibrate.cases import Case


@dataclass(frozen=True)
class Contest:
    """Two arms ready to race."""

    device: Device
    arms: tuple[Arm, Arm]
    """The candidate, then the reference."""
    workload: Workload
    backend: str | None = None
    """Which of several kernels it came to be: the SDPA backend."""


class Rig(Protocol):
    """The cases of one device."""

    kind: str
    """`cuda`, `host` or `fake`."""

    lease_name: str
    """The lock under which a gate is timed."""

    @property
    def device(self) -> Device:
        """The device; its `environment()` is recorded with the process."""
        ...

    def contest(self, case: Case, timer: str, cache: str, seed: int) -> Contest:
        """The arms of a case without spin kernels; `KgateError` or RuntimeError where it can't run here."""
        ...

    def spins(self, candidate: int | None, reference: int, seed: int, spread: int = 0) -> Contest:
        """Two spin kernels of so many mean cycles; launches differ from it by up to `spread`. None: an empty kernel."""
        ...

    def spent_cycles(self, cycles: int, spread: int = 0) -> float:
        """Mean cycles that such spins really take: a little more, as the loop ends at the first turn past the count."""
        ...

    def clock_hz(self) -> float:
        """Cycles per second of the clock that spin kernels count."""
        ...
