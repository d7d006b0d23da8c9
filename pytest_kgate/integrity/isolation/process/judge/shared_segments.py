"""System V's shared memory, which outlasts the processes that made it; for machines without a filter of system calls.

Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

_REMOVE = 0
"""IPC_RMID of ipc.h."""


@dataclass(frozen=True)
class _Segment:
    id: int
    size: int
    """In bytes."""
    creator: int
    """A process id."""


class SharedSegments:
    """The segments of this user that there were when this was made."""

    def __init__(self) -> None:
        self._before = _segments()

    def remove_new(self) -> list[str]:
        """Remove segments that were made since by processes that have ended; one clause for each."""
        libc = ctypes.CDLL(None)
        found = []
        for segment in sorted(_segments() - self._before, key=lambda one: one.id):
            if not Path(f"/proc/{segment.creator}").exists() and libc.shmctl(segment.id, _REMOVE, None) == 0:
                found.append(f"a shared memory segment of {segment.size} bytes was left, and removed")
        return found


def _segments() -> frozenset[_Segment]:
    with contextlib.suppress(OSError):
        head, *lines = Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()
        names = head.split()
        rows = (dict(zip(names, map(int, line.split()), strict=False)) for line in lines)
        return frozenset(_Segment(row["shmid"], row["size"], row["cpid"]) for row in rows if row["uid"] == os.getuid())
    return frozenset()
