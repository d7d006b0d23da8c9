"""How much of the CPU's time others took, as Linux tells: readings that only grow, to be taken before and after.

Threads that want to run and wait for a core are what slows a timed call down; what the rest of the machine does on
cores of its own is not. On other systems, and where the kernel keeps no such count, every reading is 0.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PROCESS_CLOCK = 2
"""The scheduler's count of a process's CPU time, in the id that `clock_getcpuclockid` makes of a process's."""

_STEP_SECONDS = 1e-3
_QUIET_SHARE = 0.05
"""Of a core: what a look at the clock and the sleep itself cost is below it."""

_IDLE, _WAITS_FOR_DISK, _STEAL = 3, 4, 7
"""Fields of the first line of /proc/stat; the two after `steal` are counted in `user` and `nice` as well."""


@dataclass(frozen=True)
class CpuTimes:
    """A reading of CPU times, in seconds since some time in the past, summed over all cores."""

    wall: float
    """Of the monotonic clock."""
    foreign: float
    """In which cores worked, and not for this process; of the whole machine, also in a container."""
    steal: float
    """In which the host of this virtual machine ran something else."""
    pressure: float
    """In which at least one process of the machine waited for a core."""


def cpu_times() -> CpuTimes:
    """Read the CPU times; takes some 50 us."""
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


def wait_names(arms: int) -> tuple[str, ...]:
    """What evidence calls the waiting of each arm, in their order: the candidate, the reference, other candidates."""
    return ("candidate_wait", "reference_wait", *(f"candidate_{place}_wait" for place in range(2, arms)))[:arms]


class RoundLoad:
    """Measures the CPU load of other processes during a round, and how long each arm's threads waited for a core."""

    def __init__(self, arms: int) -> None:
        self._shares: list[list[float]] = [[] for _ in range(arms)]
        self._began = (0.0, 0.0)
        self._start = cpu_times()

    def begin(self) -> None:
        """Start measuring: a few samples of one arm begin."""
        self._began = (thread_wait_seconds(), time.perf_counter())

    def over(self, arm: int | None) -> None:
        """Stop measuring: the samples of this arm are over; None before the first."""
        if arm is None:
            return
        spent = time.perf_counter() - self._began[1]
        self._shares[arm].append(max(0.0, thread_wait_seconds() - self._began[0]) / max(spent, 1e-9))

    def evidence(self) -> dict[str, float]:
        """Shares of the wall-clock time; those of `foreign_cpu` and of an arm's waiting threads can be above 1.

        The system counts the time of cores in steps of 10 ms, which may be as long as a round: that of others then
        reads too high in some rounds, and below 0 in others.

        An arm may wait in some groups of samples and not in others. The result has the median over the groups, since
        the latency is estimated without the slowest samples, too.
        """
        end = cpu_times()
        wall = max(end.wall - self._start.wall, 1e-9)
        shares = [_median(found) for found in self._shares]
        return {
            **dict(zip(wait_names(len(shares)), shares, strict=True)),
            "foreign_cpu": (end.foreign - self._start.foreign) / wall,
            "steal": (end.steal - self._start.steal) / wall,
            "cpu_pressure": (end.pressure - self._start.pressure) / wall,
        }


def wait_until_quiet(longest_seconds: float, other: int | None = None) -> float:
    """Wait until no other thread of this process works, for at most so long; returns how long that took.

    Workers of a thread pool spin for milliseconds after their last task, and take cores from what runs next. Waits for
    a millisecond at least, in which such a worker gets a core also where all are busy. `other`: the id of another
    process that is to be quiet, too.
    """
    start = time.perf_counter()
    while (waited := time.perf_counter() - start) < longest_seconds:
        worked, began = _worked_seconds(other), time.perf_counter()
        time.sleep(_STEP_SECONDS)
        if _worked_seconds(other) - worked < _QUIET_SHARE * (time.perf_counter() - began):
            return time.perf_counter() - start
    return waited


def _median(values: list[float]) -> float:
    """0 of nothing. NumPy takes long to import, and a candidate could replace what the standard library has."""
    ordered, size = sorted(values), len(values)
    return (ordered[(size - 1) // 2] + ordered[size // 2]) / 2 if ordered else 0.0


def _worked_seconds(other: int | None) -> float:
    """CPU seconds of this process, and of another; where its clock can't be read, it counts as always at work."""
    own = time.process_time()
    if other is None:
        return own
    try:
        return own + time.clock_gettime(~other << 3 | _PROCESS_CLOCK)
    except OSError:
        return own + time.perf_counter()


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


def cpu_model() -> str:
    """The CPU's marketing name, where the system tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
