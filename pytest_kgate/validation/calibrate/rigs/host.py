"""The rig of the CPU: kernels raced against themselves; there is no host kernel of known latency."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import UsageError
from pytest_kgate.validation.calibrate.cases import Case
from pytest_kgate.validation.calibrate.rigs.rig import Contest

_MATMUL = 192
_SORTED = 4096


class HostRig:
    """The cases on the CPU: a function of PyTorch, which uses many threads, and one of NumPy, which uses one."""

    kind = "host"
    lease_name = "host"

    def __init__(self) -> None:
        self.device = HostDevice()

    def contest(self, case: Case, timer: str, cache: str, seed: int) -> Contest:
        """Make both arms of the same function."""
        if case.kernel == "matmul":
            function: Any = torch.mm
            draw = _matrices
        else:
            function = _sorted
            draw = _numbers
        workload = Workload(draw, lambda inputs: torch.empty_like(inputs[0]))
        return Contest(self.device, (bind("candidate", function, {}), bind("reference", function, {})), workload)

    def spins(self, candidate: int | None, reference: int, seed: int, spread: int = 0) -> Contest:
        """Raises `UsageError`: the host has no kernel of known latency."""
        raise UsageError("The host has no spin kernels.", "Choose other cases.")

    def spent_cycles(self, cycles: int, spread: int = 0) -> float:
        """Raises `UsageError`: the host has no kernel of known latency."""
        raise UsageError("The host has no spin kernels.", "Choose other cases.")

    def clock_hz(self) -> float:
        """Raises `UsageError`: the host has no kernel of known latency."""
        raise UsageError("The host has no spin kernels.", "Choose other cases.")


def _matrices(seed: int) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn((_MATMUL, _MATMUL), generator=generator) for _ in range(2))


def _numbers(seed: int) -> tuple[Any, ...]:
    return (torch.randn(_SORTED, generator=torch.Generator().manual_seed(seed)),)


def _sorted(numbers: Tensor) -> Tensor:
    return torch.from_numpy(np.sort(numbers.numpy()))
