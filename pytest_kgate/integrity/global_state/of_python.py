"""Settings of the interpreter."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import tracemalloc
from typing import Any

from pytest_kgate.integrity.global_state.setting import Setting
from pytest_kgate.integrity.tampering import tracing

_SIGNALS = sorted(signal.valid_signals() - {getattr(signal, "SIGALRM", None)})
"""All but the one by which a call's time is limited, whose handler is put back at the end of that."""


def of_python() -> list[Setting]:
    """The settings of Python in this process."""
    found = [
        Setting("gc.isenabled", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
        Setting("gc.get_threshold", gc.get_threshold, lambda limits: gc.set_threshold(*limits)),
        Setting("sys.getswitchinterval", sys.getswitchinterval, sys.setswitchinterval),
        Setting("sys.gettrace", sys.gettrace, sys.settrace),
        Setting("sys.getprofile", tracing.profiler_to_restore, tracing.set_profiler),
        Setting("sys.monitoring", tracing.monitoring, None),
        Setting("tracemalloc.get_traceback_limit", _frames_of_allocations, _trace_allocations),
        Setting("os.getcwd", os.getcwd, os.chdir, harmless=True),
        *(_handler(number) for number in _SIGNALS),
    ]
    if hasattr(os, "getpriority") and sys.platform != "linux":  # where each thread has settings of its own
        found.append(Setting("os.getpriority", lambda: os.getpriority(os.PRIO_PROCESS, 0), None))
    return found


def _frames_of_allocations() -> int:
    """How many frames are kept of each allocation of Python's; 0 where none are traced."""
    return tracemalloc.get_traceback_limit() if tracemalloc.is_tracing() else 0


def _trace_allocations(frames: int) -> None:
    tracemalloc.stop()
    if frames:
        tracemalloc.start(frames)


def _handler(number: int) -> Setting:
    """Of a signal; None, which is no change, where it was not set by Python, and outside of the main thread."""

    def read() -> Any:
        return signal.getsignal(number) if threading.current_thread() is threading.main_thread() else None

    name = number.name if isinstance(number, signal.Signals) else number
    return Setting(
        f"signal.getsignal({name})",
        read,
        lambda handler: signal.signal(number, handler),
        may_be_untold=True,
        harmless=True,
    )
