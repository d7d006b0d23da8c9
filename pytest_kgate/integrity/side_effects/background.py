"""Work of the host during and after a call: what a call costs it, and threads that work while nothing was asked."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pytest_kgate.device.protocol import Device
from pytest_kgate.report.format import seconds
from pytest_kgate.system import procfs
from pytest_kgate.system.clocks.deadline import Watchdog

_QUIET_STEP_SECONDS = 3e-3
"""How long each look at the process's CPU time takes."""

_QUIET_SECONDS = 0.6
"""How long the process may take to fall silent: worker threads spin for a while after their last task (Intel's OpenMP
for 0.2 s), then they sleep."""

_BUSY = 0.2
"""Share of a core that a process may use while its main thread sleeps; other plugins' threads use less."""

_BUSY_SECONDS = 0.1
"""CPU time within `_QUIET_SECONDS` from which a thread is named."""

_CALLS = 5
"""Calls of which the cheapest counts as what a call costs the host."""

_SLOW_HOST_SECONDS = 50e-6
_SLOW_HOST_FACTOR = 5.0
"""Host seconds of a call, and their ratio to the kernel's latency. Above both, there is a warning: in back-to-back
calls the host is the bottleneck, not the kernel."""

_HIDDEN_HOST_SECONDS = 2e-3
_HIDDEN_HOST_FACTOR = 20.0
"""The same, from which the host must do a part of the work, which a GPU's timer does not see."""


@dataclass(frozen=True)
class HostCost:
    """What a call costs the host, which a GPU's timer leaves out, beside what it costs the GPU."""

    host_seconds: float
    """From a call to its return."""
    gpu_seconds: float
    """Of the kernel, by the timer."""
    timer: str
    """Its name."""

    @property
    def finding(self) -> str | None:
        """Why the host must do a part of the work, as a sentence; None where it need not."""
        if self.host_seconds <= max(_HIDDEN_HOST_SECONDS, _HIDDEN_HOST_FACTOR * self.gpu_seconds):
            return None
        return f"{self._told}: that is work which the {self.timer} timer does not see. Use --kgate-timer eager."

    @property
    def warning(self) -> str | None:
        """What a reader of the record must know; None where the host is no bottleneck."""
        if self.host_seconds <= max(_SLOW_HOST_SECONDS, _SLOW_HOST_FACTOR * self.gpu_seconds):
            return None
        return f"{self._told}, which the {self.timer} timer leaves out: back to back, the host decides"

    @property
    def _told(self) -> str:
        return f"one call costs the host {seconds(self.host_seconds)} and the GPU {seconds(self.gpu_seconds)}"


def host_seconds(device: Device, call: Callable[[], Any]) -> float:
    """Seconds from a call to its return on the host, the least of five; the GPU is waited for after each."""
    found = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
        device.synchronize()
    return min(found)


def busy_while_idle(before: Collection[int] = ()) -> str | None:
    """Whether this process uses the CPU for 0.6 s while its main thread sleeps; None, or one clause.

    None as soon as one look of 3 ms finds no thread busy. The clause names the threads that worked, where Linux tells,
    and says so where all are among those of `before`, by the system's ids: an earlier test may have left them.
    """
    threads: dict[str, float] | None = None
    busy = 0.0
    start = time.perf_counter()
    while time.perf_counter() - start < _QUIET_SECONDS:
        used, at = time.process_time(), time.perf_counter()
        time.sleep(_QUIET_STEP_SECONDS)
        busy = (time.process_time() - used) / (time.perf_counter() - at)
        if busy < _BUSY and not _runnable():
            return None
        threads = threads or _thread_seconds()  # not before something goes on: it takes 10 ms where there are hundreds
    after, threads = _thread_seconds(), threads or {}
    working = [name for name, seconds in after.items() if seconds - threads.get(name, 0.0) > _BUSY_SECONDS]
    older = all(int(name.rpartition(" ")[2]) in before for name in working)
    which = "threads, there before the candidate was called" if older else "threads"
    named = f" ({which}: {', '.join(working)})" if working else ""
    return f"{busy:.1f} cores of this process are busy while it waits{named}"


def python_threads() -> frozenset[int]:
    """The identities of the threads that Python's `threading` knows."""
    return frozenset(thread.ident for thread in threading.enumerate() if thread.ident is not None)


def new_threads(before: frozenset[int]) -> list[str]:
    """The names of live threads whose identities are not among these, and which are not the plugin's own."""
    threads = [thread for thread in threading.enumerate() if not isinstance(thread, Watchdog)]
    return sorted(thread.name for thread in threads if thread.ident not in before)


def _runnable() -> bool:
    """Whether another thread of this process runs or waits for a core; False where there is no /proc."""
    own = threading.get_native_id()
    return any(thread != own and fields[0] == "R" for thread, _, fields in procfs.threads())


def _thread_seconds() -> dict[str, float]:
    """CPU seconds of each thread of this process, by name and id; empty where there is no /proc."""
    tick = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    return {f"{name} {thread}": (int(fields[11]) + int(fields[12])) / tick for thread, name, fields in procfs.threads()}
