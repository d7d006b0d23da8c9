"""What the driver's management library says about a GPU; read between rounds only (a read costs 0.3 to 2 ms)."""

from __future__ import annotations

import contextlib
from typing import Any

import torch


def gpu_uuid(index: int) -> str:
    """The UUID of a CUDA device, as `nvidia-smi -L` prints it."""
    uuid = str(torch.cuda.get_device_properties(index).uuid)
    return uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"


def describe_gpu(index: int) -> dict[str, Any]:
    """UUID, driver, clocks in Hz, temperature in degrees C, power in W, processes; what can't be read is left out."""
    facts: dict[str, Any] = {"uuid": gpu_uuid(index)}
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no NVML (a container, WSL): the record then simply has less to say
        return facts
    with contextlib.suppress(pynvml.NVMLError):
        handle = pynvml.nvmlDeviceGetHandleByUUID(facts["uuid"])
        readings = {
            "driver": lambda: _text(pynvml.nvmlSystemGetDriverVersion()),
            "sm_clock_hz": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM) * 1_000_000,
            "sm_clock_max_hz": lambda: pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM) * 1_000_000,
            "memory_clock_hz": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM) * 1_000_000,
            "temperature_c": lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
            "power_w": lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            "power_limit_w": lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,
            "throttle_reasons": lambda: int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)),
            "compute_processes": lambda: len(pynvml.nvmlDeviceGetComputeRunningProcesses(handle)),
        }
        for name, read in readings.items():
            with contextlib.suppress(pynvml.NVMLError, AttributeError):
                facts[name] = read()  # type: ignore[no-untyped-call]
    return facts


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
