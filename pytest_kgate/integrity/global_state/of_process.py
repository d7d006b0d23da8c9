"""Settings of the process below Python: of malloc, of Linux, and of how numbers are rounded.

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

if sys.platform == "linux":
    import resource

_LIBC: Any = ctypes.CDLL(None) if os.name == "posix" else None

_LARGE_BYTES = 30 * 2**20
"""Below the 32 MiB from which on malloc never keeps a block, whatever was freed before (DEFAULT_MMAP_THRESHOLD_MAX)."""

_REPEATS = 3
"""The first block may still lie in memory that was there."""

_FILLED_BYTES = 4096
"""Of a block that is too large for a thread's own cache, which never fills any."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_PERTURB = -1, -3, -4, -6
_MOST_MMAPS = 65536
"""What glibc allows where nobody says otherwise."""

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
        if hasattr(_LIBC, "mallopt"):
            found += [
                Setting("mallopt: large blocks come from the system anew", renews_large_blocks, _keep_large_blocks),
                Setting("mallopt: freed memory is filled", _fills_freed, _stop_filling),
            ]
    return found


def renews_large_blocks() -> bool:
    """Whether each large block is given back to the system and taken from it anew, so that its pages fault again.

    With no other setting than glibc's own, one large block that was freed is kept for the next. glibc tells none of
    its limits, so that this watches it: a smaller limit than its largest shows in such blocks.
    """
    return all([_last_page_faults() for _ in range(_REPEATS)][1:])


def _last_page_faults() -> bool:
    block = _malloc(_LARGE_BYTES)
    if not block:
        return False
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    ctypes.memset(block + _LARGE_BYTES - 1, 1, 1)
    faults = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before
    _free(block)
    return faults > 0


def _keep_large_blocks(_: bool) -> None:
    _LIBC.mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)
    _LIBC.mallopt(_M_TRIM_THRESHOLD, 64 * 2**20)
    _LIBC.mallopt(_M_MMAP_MAX, _MOST_MMAPS)


def _fills_freed() -> bool:
    """Whether the middle of a block, which malloc has no use for, changes when it is freed and given out again."""
    wanted = b"\x11" * (_FILLED_BYTES // 2)
    block = _malloc(_FILLED_BYTES)
    ctypes.memset(block, wanted[0], _FILLED_BYTES)
    _free(block)
    again = _malloc(_FILLED_BYTES)
    found = ctypes.string_at(again + _FILLED_BYTES // 4, len(wanted))
    _free(again)
    return again == block and found != wanted


def _stop_filling(_: bool) -> None:
    _LIBC.mallopt(_M_PERTURB, 0)


def _malloc(size: int) -> int:
    _LIBC.malloc.restype, _LIBC.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    return _LIBC.malloc(size) or 0


def _free(block: int) -> None:
    _LIBC.free.restype, _LIBC.free.argtypes = None, (ctypes.c_void_p,)
    _LIBC.free(block)


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
