"""What Linux tells of processes and threads under /proc; nothing on other systems."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_THREADS = "self/task"


def stat(which: int | str) -> tuple[str, list[str]]:
    """Name, and the fields of `stat` behind it, the state first: of a process by its id, or of what lies in /proc.

    Raises `OSError` where there is none. By plain calls of the system: a gate asks of hundreds of threads.
    """
    file = os.open(f"/proc/{which}/stat", os.O_RDONLY)
    try:
        text = os.read(file, 4096).decode("ascii", errors="replace")
    finally:
        os.close(file)
    head, _, tail = text.rpartition(")")  # the name, in brackets, may itself hold spaces and brackets
    if not tail:
        raise ProcessLookupError(which)  # it ended between the two calls
    return head.partition("(")[2], tail.split()


def processes() -> Iterator[tuple[int, list[str]]]:
    """All that can be seen: id, and the fields of `stat` behind the name."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # ended meanwhile
                yield int(entry), stat(entry)[1]


def threads() -> Iterator[tuple[int, str, list[str]]]:
    """Those of this process: id, name, and the fields of `stat` behind it."""
    if not os.path.isdir(f"/proc/{_THREADS}"):
        return
    for entry in os.listdir(f"/proc/{_THREADS}"):
        with contextlib.suppress(OSError):
            yield int(entry), *stat(f"{_THREADS}/{entry}")
