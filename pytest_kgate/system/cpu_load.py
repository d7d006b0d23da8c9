"""How much of the CPU's time others took, as Linux tells: readings that only grow, to be taken before and after.

Threads that want to run and wait for a core are what slows a timed call down; what the rest of the machine does on
cores of its own is not. On other systems, and where the kernel keeps no such count, every reading is 0.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_IDLE, _WAITS_FOR_DISK, _STEAL = 3, 4, 7
"""Fields of the first line of /proc/stat; the two after `steal` are counted in `user` and `nice` as well."""


@dataclass(frozen=True)
class CpuTimes:
    """All in seconds since some time in the past, summed over all cores."""

    wall: float
    """Of the monotonic clock."""
    foreign: float
    """In which cores worked, and not for this process; of the whole machine, also in a container."""
    steal: float
    """In which the host of this virtual machine ran something else."""
    pressure: float
    """In which at least one process of the machine waited for a core."""


def cpu_times() -> CpuTimes:
    """A reading; takes some 50 us."""
    fields = [int(field) for field in _first_line("/proc/stat").split()[1:9]]
    working = sum(fields) - sum(fields[at] for at in (_IDLE, _WAITS_FOR_DISK, _STEAL)) if len(fields) == 8 else 0
    return CpuTimes(
        wall=time.perf_counter(),
        foreign=working / _TICKS - time.process_time(),
        steal=fields[_STEAL] / _TICKS if len(fields) == 8 else 0.0,
        pressure=_pressure_seconds(),
    )


def thread_wait_seconds() -> float:
    """How long this process's threads were able to run and waited for a core, summed over those that live.

    Takes about 10 us a thread. See `schedstat` in the kernel's scheduler documentation.
    """
    waited = 0
    for thread in _threads():
        fields = _first_line(f"/proc/self/task/{thread}/schedstat").split()
        if len(fields) == 3:
            waited += int(fields[1])
    return waited * 1e-9


def _pressure_seconds() -> float:
    for field in _first_line("/proc/pressure/cpu").split():
        name, _, value = field.partition("=")
        if name == "total":
            return int(value) * 1e-6
    return 0.0


def _threads() -> list[str]:
    with contextlib.suppress(OSError):
        return os.listdir("/proc/self/task")
    return []


def _first_line(path: str) -> str:
    """By plain system calls, as a race asks between its samples; empty where there is no such file."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(file, 512).decode("ascii", errors="replace").partition("\n")[0]
    except OSError:
        return ""
    finally:
        os.close(file)
