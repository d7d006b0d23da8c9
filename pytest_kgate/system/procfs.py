"""Processes and threads as Linux describes them under /proc; on other systems there are none.

Not `psutil`: it has no names of threads, so this would stay beside it; and GPU hosts without network can't install it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_THREADS = "self/task"


def stat(which: int | str) -> tuple[str, list[str]]:
    """Name, and fields of `stat` after it (state, parent, ...: see proc(5)), of a process id or a path below /proc.

    Raises `OSError` where there is none. Uses plain system calls, since a gate asks for hundreds of threads.
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
    """All visible processes: id, and the fields of `stat` after the name."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # ended meanwhile
                yield int(entry), stat(entry)[1]


def threads() -> Iterator[tuple[int, str, list[str]]]:
    """The threads of this process: id, name, and the fields of `stat` after it; none where there is no /proc."""
    if not os.path.isdir(f"/proc/{_THREADS}"):
        return
    for entry in os.listdir(f"/proc/{_THREADS}"):
        with contextlib.suppress(OSError):
            yield int(entry), *stat(f"{_THREADS}/{entry}")
