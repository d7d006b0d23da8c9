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
        """What it says of itself is the environment of the process."""
        ...

    def contest(self, case: Case, timer: str, cache: str, seed: int) -> Contest:
        """The arms of a case without spin kernels; `KgateError` or RuntimeError where it can't run here."""
        ...

    def spins(self, candidate: int | None, reference: int, seed: int, spread: int = 0) -> Contest:
        """Two spin kernels by their mean cycles; launches differ by up to `spread` from it. None is an empty kernel."""
        ...

    def spent_cycles(self, cycles: int, spread: int = 0) -> float:
        """Mean cycles that such spins really spend: the loop ends at the first turn that is late enough."""
        ...

    def clock_hz(self) -> float:
        """Cycles per second of the clock that spin kernels count."""
        ...
