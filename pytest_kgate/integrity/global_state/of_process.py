"""Settings of the process below Python: of malloc, of Linux, and of how numbers are rounded.

Native code sets them, or Python by ctypes. None has a place in a candidate: each is paid for by whatever runs next.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from pytest_kgate.integrity.global_state.setting import Setting

_LIBC: Any = ctypes.CDLL(None) if os.name == "posix" else None

_LARGE_BYTES = 31 * 2**20
"""Below the 32 MiB from which on malloc never keeps a block, whatever was freed before (DEFAULT_MMAP_THRESHOLD_MAX)."""

_MOST_HELD = 64
"""Blocks until one must come from the system: freed memory that malloc has kept is given out first."""

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
        if hasattr(_LIBC, "mallinfo2"):
            found += [
                Setting("mallopt: large blocks are", large_blocks, _keep_large_blocks),
                Setting("mallopt: freed memory is filled", _fills_freed, _stop_filling),
            ]
    return found


_OF_MALLINFO2 = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class _Mallinfo2(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_size_t) for name in _OF_MALLINFO2)


def large_blocks() -> str | None:
    """What malloc does with large blocks: `kept` for the next, or, so that their pages fault again, `mapped` anew or
    `trimmed` when they are freed; None where that can't be told.

    glibc tells none of its limits, so that blocks are allocated to see, and nothing is written to them. With no other
    setting than its own, it keeps one from the second on: its limit grows when a mapped block is freed. A thread's own
    heap is given back as a whole, which tells nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    kind = None
    for _ in range(2):
        held, kind = _until_from_system()
        last = [held.pop()] if held else []
        before = _mallinfo().arena
        for block in last:
            _free(block)
        trimmed = _mallinfo().arena <= before - _LARGE_BYTES // 2
        for block in held:
            _free(block)
        if kind != "mapped":
            return "trimmed" if kind and trimmed else kind
    return kind


def _until_from_system() -> tuple[list[int], str | None]:
    """Blocks that are held, and whether the last of them was `mapped` or came from a heap that has grown: `kept`."""
    held: list[int] = []
    while len(held) < _MOST_HELD:
        before, block, now = _mallinfo(), _malloc(_LARGE_BYTES), _mallinfo()
        if not block:
            break
        held.append(block)
        if now.hblks > before.hblks:
            return held, "mapped"
        if now.arena >= before.arena + _LARGE_BYTES // 2:
            return held, "kept"
    return held, None


def _mallinfo() -> Any:
    _LIBC.mallinfo2.restype = _Mallinfo2
    return _LIBC.mallinfo2()


def _keep_large_blocks(before: str | None) -> None:
    if before != "kept":
        return
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
