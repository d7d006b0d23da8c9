"""The protocol of a rig: what makes a device's cases into arms, with kernels of known latency."""

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
    """The SDPA backend that was chosen as the fastest; None where there was no choice."""


class Rig(Protocol):
    """Makes the arms of calibration cases on one device, and measures its clock."""

    kind: str
    """`cuda`, `host` or `fake`."""

    lease_name: str
    """The lock under which a gate is timed."""

    @property
    def device(self) -> Device:
        """The device that gates are raced on; its `environment()` is recorded with the process."""
        ...

    def contest(self, case: Case, timer: str, cache: str, seed: int) -> Contest:
        """Make the arms of a case without spin kernels; `KgateError` or RuntimeError where it can't run here."""
        ...

    def spins(self, candidate: int | None, reference: int, seed: int, spread: int = 0) -> Contest:
        """Make two spins of these mean cycles, whose launches differ by up to `spread`. None: an empty kernel."""
        ...

    def spent_cycles(self, cycles: int, spread: int = 0) -> float:
        """The mean cycles that such spins really take: a little more, as a loop ends at its first turn past them."""
        ...

    def clock_hz(self) -> float:
        """Measure the clock that spin kernels count, in cycles per second."""
        ...
