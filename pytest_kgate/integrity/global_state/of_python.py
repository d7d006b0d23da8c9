"""Settings of the interpreter."""

from __future__ import annotations

import gc
import os
import sys

from pytest_kgate.integrity.global_state.setting import Setting
from pytest_kgate.integrity.tampering import tracing


def of_python() -> list[Setting]:
    """The settings of Python in this process."""
    found = [
        Setting("gc.isenabled", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
        Setting("gc.get_threshold", gc.get_threshold, lambda limits: gc.set_threshold(*limits)),
        Setting("sys.getswitchinterval", sys.getswitchinterval, sys.setswitchinterval),
        Setting("sys.gettrace", sys.gettrace, sys.settrace),
        Setting("sys.getprofile", sys.getprofile, tracing.set_profiler),
        Setting("sys.monitoring", tracing.monitoring, None),
    ]
    if hasattr(os, "getpriority") and sys.platform != "linux":  # where each thread has settings of its own
        found.append(Setting("os.getpriority", lambda: os.getpriority(os.PRIO_PROCESS, 0), None))
    return found
