"""Read the state of a GPU from NVML, between rounds only: a reading takes 0.3 to 2 ms."""

from __future__ import annotations

import contextlib
import functools
import time
from typing import Any

import torch

from pytest_kgate.device.cuda.nvml.peers import Peers
from pytest_kgate.device.protocol import Reading


def gpu_uuid(index: int) -> str:
    """The UUID of a CUDA device, as `nvidia-smi -L` prints it."""
    uuid = str(torch.cuda.get_device_properties(index).uuid)
    return uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"


@functools.cache
def handle_of(uuid: str) -> Any:
    """NVML's handle of this GPU, while NVML is initialised; to find it takes 9 ms."""
    import pynvml

    return pynvml.nvmlDeviceGetHandleByUUID(uuid)


def describe_gpu(index: int) -> dict[str, Any]:
    """UUID, driver, clocks in Hz, temperature in degrees C, power in W, processes; what can't be read is left out."""
    facts: dict[str, Any] = {"uuid": gpu_uuid(index)}
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no NVML (a container, WSL): the record then simply has less to say
        return facts
    with contextlib.suppress(pynvml.NVMLError):
        handle = handle_of(facts["uuid"])
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


class Machine:
    """Reads what disturbs one GPU: throttling, heat, other processes. Registers this process as one of kgate's."""

    def __init__(self, index: int) -> None:
        self._handle: Any = None
        with contextlib.suppress(Exception):  # no NVML (a container, WSL): readings then say nothing
            import pynvml

            pynvml.nvmlInit()
            uuid = gpu_uuid(index)
            self._handle = handle_of(uuid)
            self._nvml = pynvml
            self._peers = Peers(uuid)

    def admit(self, pid: int) -> None:
        """Register a process that was started here as one of kgate's, which disturbs no race."""
        if self._handle is not None:
            self._peers.add(pid)

    def read(self) -> Reading | None:
        """Take one reading; None without NVML. A field that can't be read is None."""
        if self._handle is None:
            return None
        nvml, handle = self._nvml, self._handle
        start = time.perf_counter()
        found: dict[str, Any] = {}
        readings = {
            "throttle": lambda: int(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)),
            "temperature_c": lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            "foreign_processes": lambda: self._peers.count_others(
                [one.pid for one in nvml.nvmlDeviceGetComputeRunningProcesses(handle)]
            ),
        }
        for name, read in readings.items():
            with contextlib.suppress(nvml.NVMLError, AttributeError):
                found[name] = read()  # type: ignore[no-untyped-call]
        return Reading(**found, seconds=time.perf_counter() - start)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
