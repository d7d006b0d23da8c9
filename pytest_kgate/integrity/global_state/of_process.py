"""Settings of the process below Python: of Linux, and of how numbers are rounded.

Native code sets them, or Python by ctypes. None has a place in a candidate: each is paid for by whatever runs next.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from pytest_kgate.integrity.global_state.setting import Setting

_LIBC: Any = ctypes.CDLL(None) if os.name == "posix" else None

_PR_SET_TIMERSLACK, _PR_GET_TIMERSLACK = 29, 30
_PR_SET_THP_DISABLE, _PR_GET_THP_DISABLE = 41, 42
_PR_GET_SPECULATION_CTRL, _PR_SET_SPECULATION_CTRL = 52, 53
_SPECULATION = {"store bypass": 0, "indirect branches": 1}
_PER_TASK = 1
"""A bit of what PR_GET_SPECULATION_CTRL returns: that it can be set for each thread."""

_TIMERS = ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")


def of_process() -> list[Setting]:
    """The settings of this process, and of its main thread."""
    found = []
    if hasattr(_LIBC, "fegetround"):
        found.append(Setting("fegetround", _LIBC.fegetround, _LIBC.fesetround))
    if hasattr(signal, "getitimer"):
        found.append(Setting("signal.getitimer's intervals", _intervals, _set_intervals))
    if sys.platform == "linux":
        found += [
            _prctl("timer slack in ns", (_PR_GET_TIMERSLACK,), lambda value: (_PR_SET_TIMERSLACK, value)),
            _prctl("no huge pages", (_PR_GET_THP_DISABLE, 0, 0, 0, 0), lambda on: (_PR_SET_THP_DISABLE, on, 0, 0, 0)),
            *(_speculation(name, which) for name, which in _SPECULATION.items()),
        ]
    return found


def _intervals() -> tuple[float, ...]:
    """Of timers that send signals again and again; one that sends a single signal may be a timeout of the test."""
    return tuple(signal.getitimer(getattr(signal, name))[1] for name in _TIMERS)


def _set_intervals(wanted: tuple[float, ...]) -> None:
    for name, before, now in zip(_TIMERS, wanted, _intervals(), strict=True):
        if before != now:
            signal.setitimer(getattr(signal, name), before, before)


def _prctl(what: str, get: tuple[int, ...], put: Callable[[int], tuple[int, ...]]) -> Setting:
    return Setting(f"prctl: {what}", lambda: int(_LIBC.prctl(*get)), lambda value: _LIBC.prctl(*put(value)))


def _speculation(name: str, which: int) -> Setting:
    return _prctl(
        f"speculation of {name}",
        (_PR_GET_SPECULATION_CTRL, which, 0, 0, 0),
        lambda value: (_PR_SET_SPECULATION_CTRL, which, value & ~_PER_TASK, 0, 0),
    )
