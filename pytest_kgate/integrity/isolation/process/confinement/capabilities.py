"""Capabilities of root, which the process of an isolated candidate gives up before it loads the candidate.

Root may set clocks, poison pages of memory, reserve terminals and mark files as immutable, and neither Landlock nor a
filter knows all of its ways. What is kept is to read files whoever owns them, since in a container root may well run
from a folder of another user; Landlock says what may be written.
"""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

_KEPT = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH of capability.h."""

_VERSION = 0x2008_0522
"""_LINUX_CAPABILITY_VERSION_3: 64 capabilities, in two halves."""

_DROP_FROM_BOUND = 24
_AMBIENT, _CLEAR = 47, 4
"""PR_CAPBSET_DROP, PR_CAP_AMBIENT and PR_CAP_AMBIENT_CLEAR_ALL of prctl.h."""

_WORDS = ctypes.c_uint32 * 6
"""Of both halves: those in effect, permitted, inherited."""


def give_up() -> None:
    """Give up all capabilities but those that read files, for good; nothing happens where there are none.

    Raises `OSError` where the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for number in range(64):
        if not _KEPT >> number & 1:
            libc.prctl(_DROP_FROM_BOUND, number, 0, 0, 0)  # it fails for who has no right to, and so nothing to drop
    libc.prctl(_AMBIENT, _CLEAR, 0, 0, 0)
    kept = _in_effect() & _KEPT
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    if libc.capset(header, _WORDS(kept, kept, 0, 0, 0, 0)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, "the capabilities of root can't be given up")


def _in_effect() -> int:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("CapEff:")).split()[1], 16)
    return 0
