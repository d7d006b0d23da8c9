"""Open a device by its name: `auto` and the workers of pytest-xdist are assigned one, which becomes a `Device`.

Nothing here imports PyTorch before a device needs it.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from pytest_kgate.system.pytorch import require_torch

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device


def device_argument(text: str) -> str:
    """What a verb's --device takes, as it is."""
    if not re.fullmatch(r"auto|host|cuda(:\d+)?", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"takes auto, cuda, cuda:N or host, not {text!r}")
    return text


def assigned(spec: str, worker: str = "") -> str:
    """The device's full name, `host` or `cuda:N`, for `auto` and `cuda`; any other name stays as it is.

    `worker` is pytest-xdist's name of this process, such as `gw1`: workers take the GPUs in turn. Raises
    `DeviceMissing` where PyTorch, which knows of the GPUs, can't be imported.
    """
    if spec not in ("auto", "cuda"):
        return spec
    require_torch()
    import torch

    if not torch.cuda.is_available() or torch.version.hip:  # a ROCm build calls its GPUs cuda, too
        return "host" if spec == "auto" else "cuda:0"
    number = worker.removeprefix("gw")
    return f"cuda:{(int(number) if number.isdigit() else 0) % torch.cuda.device_count()}"


def open_device(spec: str, worker: str = "", *, timeout_seconds: float = 300.0) -> Device:
    """The device of `auto`, `cuda`, `cuda:N` or `host`; raises `DeviceMissing`.

    `timeout_seconds` is how long a kernel may run before it counts as hung.
    """
    spec = assigned(spec, worker)
    require_torch()
    if spec == "host":
        from pytest_kgate.device.host import HostDevice

        return HostDevice()
    from pytest_kgate.device.cuda.device import CudaDevice

    return CudaDevice(int(spec.partition(":")[2]), timeout_seconds=timeout_seconds)
