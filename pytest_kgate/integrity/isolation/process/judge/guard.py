"""Guards the judging process against an isolated candidate's: its memory can't be read, no process is left behind.

Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Collection
from collections.abc import Iterator

from pytest_kgate.errors import CandidateError
from pytest_kgate.system import procfs

_GET_DUMPABLE, _SET_DUMPABLE = 3, 4
_SET_SUBREAPER, _GET_SUBREAPER = 36, 37
"""Options of prctl, from Linux's prctl.h."""

_PATIENCE_SECONDS = 10.0
"""How long processes that were killed may take to end."""


@contextlib.contextmanager
def guard_process() -> Iterator[None]:
    """Guard this process in the block, and at its end kill all processes that were started in it.

    Other processes of this user can't read or write its memory, since it is not dumpable; root's still can. Orphaned
    descendants become its children, since it is a subreaper. Raises `CandidateError` where some can't be killed.
    """
    libc = ctypes.CDLL(None)
    before = ctypes.c_int()
    libc.prctl(_GET_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    dumpable = libc.prctl(_GET_DUMPABLE, 0, 0, 0, 0)
    others = children()
    adopt_orphans()
    hide_memory()
    try:
        yield
    finally:
        try:
            end_children(others)
        finally:
            libc.prctl(_SET_SUBREAPER, before.value, 0, 0, 0)
            if dumpable == 1:  # the only other value that may be set
                libc.prctl(_SET_DUMPABLE, 1, 0, 0, 0)


def adopt_orphans() -> None:
    """Make this process a subreaper: the parent of its descendants whose own parent has ended."""
    ctypes.CDLL(None).prctl(_SET_SUBREAPER, 1, 0, 0, 0)


def hide_memory() -> None:
    """Keep this process's memory from other processes of this user."""
    ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)


def children() -> set[int]:
    """Ids of the processes whose parent is this one."""
    return {pid for pid, fields in procfs.processes() if int(fields[1]) == os.getpid()}


def end_children(but: Collection[int] = ()) -> None:
    """Kill all other children until there are none; their children become this process's, so it takes a few turns."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while left := children().difference(but):
        for pid in left:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > end:
            raise CandidateError(
                f"Processes that the candidate has started can't be ended: {', '.join(map(str, sorted(left)))}.",
                "End them by hand; nothing that was timed beside them can be trusted.",
            )
        time.sleep(1e-3)
