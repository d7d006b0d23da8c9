"""What keeps an isolated candidate's process from reaching into this one, and from leaving others behind: on Linux."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator

from pytest_kgate.errors import CandidateError
from pytest_kgate.system import procfs

_GET_DUMPABLE, _SET_DUMPABLE = 3, 4
_SET_SUBREAPER, _GET_SUBREAPER = 36, 37
"""Of Linux's prctl.h."""

_PATIENCE_SECONDS = 10.0


@contextlib.contextmanager
def guard_process() -> Iterator[None]:
    """Within it, no other process of this user can read or change this one's memory (root's can), and all that the
    processes started within it have started are this one's to end, which happens at the end."""
    libc = ctypes.CDLL(None)
    before = ctypes.c_int()
    libc.prctl(_GET_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    dumpable = libc.prctl(_GET_DUMPABLE, 0, 0, 0, 0)
    others = children()
    libc.prctl(_SET_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    try:
        yield
    finally:
        try:
            _end_children(others)
        finally:
            libc.prctl(_SET_SUBREAPER, before.value, 0, 0, 0)
            if dumpable == 1:  # the only other value that may be set
                libc.prctl(_SET_DUMPABLE, 1, 0, 0, 0)


def children() -> set[int]:
    """The processes whose parent is this one."""
    return {pid for pid, fields in procfs.processes() if int(fields[1]) == os.getpid()}


def _end_children(but: set[int]) -> None:
    """Those who lose their parent in this become children of this process, so that it takes a few turns."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while left := children() - but:
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
