"""The roofline's lower bound on a problem's latency on a device: a faster candidate has not done the work.

Every peak is an upper bound on what the hardware can do, not an estimate of what it does: rates at the highest clock,
and bandwidth of the nearest memory that can hold the bytes. With a hot cache, kernels stay far above the lower bound. A
false alarm takes a problem that states more operations or bytes than its kernel needs.
"""

from __future__ import annotations

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
"""Dense 16-bit tensor core operations per clock and multiprocessor, by compute capability, from NVIDIA's data sheets:
peak rate / boost clock / multiprocessors. An H200 has 989.5e12 / 1.83e9 / 132 = 4096."""

_L2_BYTES_A_CLOCK = 128
"""From L2 into one multiprocessor: twice the 64 of NVIDIA's tuning guides since Volta, for the next generations."""

_MEMORY_MARGIN = 1.1
"""Margin over the nominal bandwidth, which is twice the memory clock times the width of the bus."""

_CPU_FLOPS = 2048
"""Operations per clock and core: AMX does 16 x 16 x 32 bf16 multiply-adds in 16 clocks; the double allows for later
CPUs."""

_CPU_BYTES = 192
"""Bytes per clock and core from the L1 cache: three loads of 64 bytes, which no core exceeds."""

_CPU_HZ = 6.5e9
"""Above the highest boost of any core sold."""


@dataclass(frozen=True)
class Peaks:
    """Rates that a device can't exceed."""

    flops_per_second: float
    """16-bit matrix operations; a multiply-add counts as two."""
    near_bytes_per_second: float
    """From the caches into the cores: L2 on a GPU, L1 on the host."""
    far_bytes_per_second: float | None
    """From device memory; None where it is not known."""

    def operations_per_second(self, dtype: str | None) -> float:
        """Matrix operations a second on elements of this type."""
        return self.flops_per_second * _narrower(dtype)


@dataclass(frozen=True)
class LowerBound:
    """The least latency of one call, and which of the problem's demands it comes from."""

    seconds: float
    demand: str
    """Such as `1e+12 operations at 9.9e+14 a second`."""


def lower_bound(problem: Problem, peaks: Peaks | None, cache: str) -> LowerBound | None:
    """The larger of operations over peak rate and bytes over peak bandwidth; None where neither is known.

    With `cache="cold"`, inputs come from device memory. Outputs may stay in the cache, and a problem states only the
    sum of bytes read and written, so half of the sum counts for device memory.
    """
    if peaks is None:
        return None
    bounds = []
    if problem.flops:
        rate = peaks.operations_per_second(problem.dtype)
        bounds.append(LowerBound(problem.flops / rate, f"{problem.flops:.3g} operations at {rate:.3g} a second"))
    if problem.bytes:
        rate = peaks.near_bytes_per_second
        bounds.append(LowerBound(problem.bytes / rate, f"{problem.bytes:.3g} bytes at {rate:.3g} a second"))
        if cache == "cold" and peaks.far_bytes_per_second:
            half, rate = problem.bytes / 2, peaks.far_bytes_per_second
            bounds.append(LowerBound(half / rate, f"{half:.3g} bytes from device memory at {rate:.3g} a second"))
    return max(bounds, key=lambda one: one.seconds, default=None)


def _narrower(dtype: str | None) -> int:
    """By what factor the peak rate is above that of 16-bit elements: rates double as elements halve, down to 4 bits."""
    name = dtype or ""
    return 4 if "float4" in name or "int4" in name else 2 if "float8" in name or "int8" in name else 1


def peaks_of(device: Device) -> Peaks | None:
    """The peaks of the host, or of a CUDA device of a known compute capability; None of any other."""
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

    from pytest_kgate.device.cuda.nvml.state import describe_gpu

    properties = torch.cuda.get_device_properties(index)
    flops = _TENSOR_FLOPS.get((properties.major, properties.minor))
    clock = describe_gpu(index).get("sm_clock_max_hz")
    if flops is None or not clock:
        return None
    count = properties.multi_processor_count
    return Peaks(count * clock * flops, count * clock * _L2_BYTES_A_CLOCK, _memory_rate(index))


def _memory_rate(index: int) -> float | None:
    from pytest_kgate.device.cuda import driver

    known = driver.bindings().CUdevice_attribute
    try:
        device = driver.call("cuDeviceGet", index)
        kilohertz = driver.call("cuDeviceGetAttribute", known.CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, device)
        bits = driver.call("cuDeviceGetAttribute", known.CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, device)
    except driver.DriverError:
        return None
    rate = 2.0 * kilohertz * 1e3 * bits / 8 * _MEMORY_MARGIN
    return rate or None
