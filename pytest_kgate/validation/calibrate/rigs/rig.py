"""What the protocol needs of a device kind: its cases as arms, and instruments of known latency."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from typing import Protocol

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import UsageError
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


def kind_of(spec: str) -> str:
    """`cuda`, `host` or `fake`, of a device named as `cuda:1`, `host` or `fake:white`; `auto` looks for a GPU."""
    if spec == "auto":
        import torch

        return "cuda" if torch.cuda.is_available() else "host"
    if not re.fullmatch(r"host|cuda(:\d+)?|fake(:[\w.-]+)?", spec, re.ASCII):
        raise UsageError(f"There is no device {spec!r}.", "Use auto, cuda, cuda:N, host or fake.")
    return spec.partition(":")[0]


def open_rig(spec: str) -> Rig:
    """The rig of a device; raises `DeviceMissing`. Imports torch only where the device needs it."""
    kind = kind_of(spec)
    detail: Any = spec.partition(":")[2]
    if kind == "fake":
        from pytest_kgate.validation.calibrate.rigs.fake import FakeRig

        return FakeRig(detail or "white")
    if kind == "host":
        from pytest_kgate.validation.calibrate.rigs.host import HostRig

        return HostRig()
    from pytest_kgate.validation.calibrate.rigs.cuda import CudaRig

    return CudaRig(int(detail or 0))
