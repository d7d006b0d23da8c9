"""Open the rig of a device by its name on the command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.device.open import assigned
from pytest_kgate.errors import UsageError
from pytest_kgate.system.pytorch import require_torch

if TYPE_CHECKING:
    from pytest_kgate.validation.calibrate.rigs.rig import Rig


def kind_of(spec: str) -> str:
    """The kind of a device named like `cuda:1` or `fake:white`: `cuda`, `host` or `fake`; `auto` looks for a GPU."""
    if spec == "auto":
        spec = assigned(spec)
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
    require_torch()
    if kind == "host":
        from pytest_kgate.validation.calibrate.rigs.host import HostRig

        return HostRig()
    from pytest_kgate.validation.calibrate.rigs.cuda import CudaRig

    return CudaRig(int(detail or 0))
