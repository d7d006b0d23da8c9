"""The least time that a problem can take on a device: a faster candidate has not done the work.

Every figure is an upper bound on what the hardware can do, never an estimate of what it does: peaks at the highest
clock, and of bandwidth the nearest memory in which the bytes can lie. An honest kernel can't come near the floor of a
hot cache, and a false alarm would need a problem that states more work than it has.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_kgate.device.cuda.context import CudaContext

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.problems.problem import Problem

_TENSOR_FLOPS: Mapping[tuple[int, int], int] = MappingProxyType(
    {
        (7, 0): 1024,
        (7, 2): 1024,
        (7, 5): 1024,
        (8, 0): 2048,
        (8, 6): 1024,
        (8, 7): 2048,
        (8, 9): 1024,
        (9, 0): 4096,
        (10, 0): 8192,
        (10, 1): 8192,
        (10, 3): 8192,
        (11, 0): 8192,
        (12, 0): 1024,
        (12, 1): 1024,
    }
)
"""Dense 16-bit matrix operations a clock and multiprocessor, by compute capability: peak rate over clock over count, of
NVIDIA's data sheets. An H200 has 989.5e12 / 1.83e9 / 132 = 4096."""

_L2_BYTES_A_CLOCK = 128
"""Into one multiprocessor: twice the 64 of NVIDIA's tuning guides since Volta, for what the next generation may do."""

_MEMORY_MARGIN = 1.1
"""Over twice the memory clock times the width of the bus."""

_CPU_FLOPS = 2048
"""A clock and core: AMX does 16 x 16 x 32 bf16 multiply-adds in 16 clocks, and twice that is kept for what comes."""

_CPU_BYTES = 192
"""A clock and core out of the first cache: three loads of 64 bytes, which no core exceeds."""

_CPU_HZ = 6.5e9
"""Above the highest boost of any core sold."""

_MEMORY_CLOCK = 36
_BUS_WIDTH = 37
"""CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE in kHz and CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH in bits, of cuda.h."""


@dataclass(frozen=True)
class Peaks:
    """What a device can't exceed."""

    flops_per_second: float
    """Of 16-bit matrix operations."""
    near_bytes_per_second: float
    """From the caches into the cores."""
    far_bytes_per_second: float | None
    """From device memory; None where it is not known."""


@dataclass(frozen=True)
class Floor:
    """The least seconds of one call, and what demands them."""

    seconds: float
    why: str


def floor(problem: Problem, peaks: Peaks | None, cache: str) -> Floor | None:
    """The larger of arithmetic over its peak rate and bytes over bandwidth; None where nothing is known.

    With a cold cache, inputs come from device memory. What is written may stay in the cache, and only the whole of the
    bytes is stated, so that half of them count: a problem that writes more than it reads has a lower floor.
    """
    if peaks is None:
        return None
    floors = []
    if problem.flops:
        rate = peaks.flops_per_second * _narrower(problem.dtype)
        floors.append(Floor(problem.flops / rate, f"{problem.flops:.3g} operations at {rate:.3g} a second"))
    if problem.bytes:
        rate = peaks.near_bytes_per_second
        floors.append(Floor(problem.bytes / rate, f"{problem.bytes:.3g} bytes at {rate:.3g} a second"))
        if cache == "cold" and peaks.far_bytes_per_second:
            half, rate = problem.bytes / 2, peaks.far_bytes_per_second
            floors.append(Floor(half / rate, f"{half:.3g} bytes from device memory at {rate:.3g} a second"))
    return max(floors, key=lambda one: one.seconds, default=None)


def _narrower(dtype: str | None) -> int:
    """Rates double as elements halve; nothing below 4 bits exists."""
    name = dtype or ""
    return 4 if "float4" in name or "int4" in name else 2 if "float8" in name or "int8" in name else 1


def peaks_of(device: Device) -> Peaks | None:
    """The peaks of a CUDA device of a known generation, or of the host."""
    if device.kind == "host":
        return _of_host()
    if not isinstance(device, CudaContext):
        return None
    return _of_gpu(device.index)


def _of_host() -> Peaks:
    cores = os.cpu_count() or 1
    return Peaks(cores * _CPU_HZ * _CPU_FLOPS, cores * _CPU_HZ * _CPU_BYTES, None)


@functools.cache
def _of_gpu(index: int) -> Peaks | None:
    import torch

    from pytest_kgate.device.cuda.nvml import describe_gpu

    properties = torch.cuda.get_device_properties(index)
    flops = _TENSOR_FLOPS.get((properties.major, properties.minor))
    clock = describe_gpu(index).get("sm_clock_max_hz")
    if flops is None or not clock:
        return None
    count = properties.multi_processor_count
    return Peaks(count * clock * flops, count * clock * _L2_BYTES_A_CLOCK, _memory_rate(index))


def _memory_rate(index: int) -> float | None:
    from pytest_kgate.device.cuda import driver

    handle, kilohertz, bits = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    try:
        driver.call("cuDeviceGet", ctypes.byref(handle), index)
        driver.call("cuDeviceGetAttribute", ctypes.byref(kilohertz), _MEMORY_CLOCK, handle)
        driver.call("cuDeviceGetAttribute", ctypes.byref(bits), _BUS_WIDTH, handle)
    except driver.DriverError:
        return None
    rate = 2.0 * kilohertz.value * 1e3 * bits.value / 8 * _MEMORY_MARGIN
    return rate or None
