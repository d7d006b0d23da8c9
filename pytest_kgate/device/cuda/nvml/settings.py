"""Read how a GPU is set up, from NVML: what changes only when somebody changes it. Sets nothing."""

from __future__ import annotations

import contextlib
from typing import Any
from typing import TypedDict
from typing import cast

from pytest_kgate.device.cuda.nvml.state import handle_of


class GpuSettings(TypedDict, total=False):
    """How a GPU is set up; what its driver does not tell is left out."""

    persistence: bool
    """Whether the driver stays loaded while nobody uses the GPU."""
    mig: bool
    """Whether the GPU is cut into slices (MIG), or ready to be."""
    ecc: bool
    uncorrected_errors: int
    """Memory errors since the driver was loaded that ECC could not correct."""
    compute_mode: int
    """NVML's: 0 default, 2 prohibited, 3 one process alone."""
    power_limit_w: float
    power_default_w: float
    clock_reasons: int
    """NVML's bit mask of clocks event reasons."""
    cuda_of_driver: tuple[int, int]
    """The newest CUDA version that the driver runs: (13, 0)."""


def gpu_settings(uuid: str) -> GpuSettings | None:
    """The settings of the GPU, or MIG slice, with this UUID; None where NVML, or nvidia-ml-py, is missing."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = handle_of(uuid)
    except Exception:  # nvidia-ml-py is not installed, no driver, or one that does not know the GPU
        return None
    found: dict[str, Any] = {}
    readings = {
        "persistence": lambda: bool(pynvml.nvmlDeviceGetPersistenceMode(handle)),
        "mig": lambda: bool(pynvml.nvmlDeviceGetMigMode(handle)[0]),
        "ecc": lambda: bool(pynvml.nvmlDeviceGetEccMode(handle)[0]),
        "uncorrected_errors": lambda: int(
            pynvml.nvmlDeviceGetTotalEccErrors(
                handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
            )
        ),
        "compute_mode": lambda: int(pynvml.nvmlDeviceGetComputeMode(handle)),
        "power_limit_w": lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,
        "power_default_w": lambda: pynvml.nvmlDeviceGetPowerManagementDefaultLimit(handle) / 1000,
        "clock_reasons": lambda: int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)),
        "cuda_of_driver": lambda: _version(pynvml.nvmlSystemGetCudaDriverVersion()),
    }
    for name, read in readings.items():
        with contextlib.suppress(pynvml.NVMLError, AttributeError):
            found[name] = read()  # type: ignore[no-untyped-call]
    return cast("GpuSettings", found)


def _version(number: int) -> tuple[int, int]:
    """(13, 0) of 13000."""
    return number // 1000, number % 1000 // 10
