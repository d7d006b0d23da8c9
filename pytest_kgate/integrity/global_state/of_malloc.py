"""How malloc works in this process: native code sets it, or Python by ctypes, and the reference's outputs pay.

glibc tells none of its limits, so that blocks are watched instead.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

from pytest_kgate.integrity.global_state.setting import Setting
from pytest_kgate.system.child_process import environment_of_start

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

_COSTLY = ("mapped", "trimmed", True)
"""Values of the settings by which an allocation costs more than glibc's own would have it."""

_START_SECONDS = 30.0
"""How long a new process may take to start on a busy machine."""


def of_malloc() -> list[Setting]:
    """The settings of malloc; none where it is not glibc's."""
    if not hasattr(_LIBC, "mallinfo2"):
        return []
    return [
        Setting("mallopt: large blocks are", large_blocks, _keep_large_blocks, may_be_untold=True),
        Setting("mallopt: freed memory is filled", _fills_freed, _stop_filling),
    ]


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
        if kind == "kept":
            before = _heap_end()
            _free(held.pop())
            kind = "trimmed" if _heap_end() <= before - _LARGE_BYTES // 2 else kind
        elif kind == "mapped":
            mapped = _mallinfo().hblks  # which takes long where there are many free blocks
            _free(held.pop())
            kind = kind if _mallinfo().hblks < mapped else None
        for block in held:
            _free(block)
        if kind != "mapped":
            return kind
    return kind


def _until_from_system() -> tuple[list[int], str | None]:
    """Blocks that are held, and whether the last of them was `mapped` or came from a heap that has grown: `kept`."""
    held: list[int] = []
    while len(held) < _MOST_HELD:
        before, block, now = _heap_end(), _malloc(_LARGE_BYTES), _heap_end()
        if not block:
            break
        held.append(block)
        if now >= before + _LARGE_BYTES // 2:
            return held, "kept"
        if block > now:
            return held, "mapped"
    return held, None


def _heap_end() -> int:
    _LIBC.sbrk.restype, _LIBC.sbrk.argtypes = ctypes.c_void_p, (ctypes.c_ssize_t,)
    return _LIBC.sbrk(0) or 0


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


def set_before(here: Mapping[str, Any]) -> str | None:
    """What costs more here than in a new process, as a sentence: a module may have set it when it was imported.

    None where nothing does. `here` has what malloc's settings read in this process. A new one is started, once, only
    where something is unusual here.
    """
    costly = [name for name, value in here.items() if value in _COSTLY]
    there = _in_new_process() if costly else {}
    worse = [name for name in costly if name in there and there[name] not in _COSTLY]
    if not worse:
        return None
    return (
        f"malloc was made slow before the candidate's first call, and the reference pays for that: {worse[0]}: "
        f"{here[worse[0]]}, and {there[worse[0]]} in a new process. Look for who calls mallopt, such as a module when "
        "it is imported; what is meant for all goes into GLIBC_TUNABLES where the tests are started."
    )


@functools.cache
def _in_new_process() -> dict[str, Any]:
    """The settings there; empty where it can't be started."""
    try:
        run = subprocess.run(
            [sys.executable, "-m", __name__],
            env=environment_of_start(),
            capture_output=True,
            timeout=_START_SECONDS,
            check=True,
        )
        told: dict[str, Any] = json.loads(run.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}
    return told


if __name__ == "__main__":
    json.dump({setting.name: setting.read() for setting in of_malloc()}, sys.stdout)
