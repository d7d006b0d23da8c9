"""Processes, threads and memory as Linux describes them under /proc; on other systems there is nothing of it.

Not `psutil`: it has no names of threads, so this would stay beside it; and GPU hosts without network can't install it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

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


def thread_ids() -> list[int]:
    """The ids of this process's threads; none where there is no /proc. Their `stat` takes 20 us each to read."""
    return [int(entry) for entry in os.listdir(f"/proc/{_THREADS}")] if os.path.isdir(f"/proc/{_THREADS}") else []


def threads() -> Iterator[tuple[int, str, list[str]]]:
    """The threads of this process: id, name, and the fields of `stat` after it; none where there is no /proc."""
    for thread in thread_ids():
        with contextlib.suppress(OSError):  # ended meanwhile
            yield thread, *stat(f"{_THREADS}/{thread}")


def memory_kills() -> int | None:
    """How many processes Linux has ended so far because memory was short; None if unknown."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return None


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that new memory can have before the machine swaps or the container's limit is met; None if unknown.

    `root` is where /proc and /sys are found.
    """
    found = [_machine_bytes(root)]
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                names, base = ("memory.max", "memory.current"), root / "sys/fs/cgroup"
            elif controllers == "memory":
                names, base = ("memory.limit_in_bytes", "memory.usage_in_bytes"), root / "sys/fs/cgroup/memory"
            else:
                continue
            group = base / path.lstrip("/")
            found += [_left(one, *names) for one in (group, *group.parents) if one == base or base in one.parents]
    known = [size for size in found if size is not None]
    return min(known) if known else None


def _machine_bytes(root: Path) -> int | None:
    with contextlib.suppress(OSError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
    return None


def _left(group: Path, limit: str, usage: str) -> int | None:
    """Bytes that a control group may still take, what it caches of files included; None where it has no limit."""
    with contextlib.suppress(OSError, ValueError):  # "max" is no number
        left = int((group / limit).read_text()) - int((group / usage).read_text())
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(0, left + int(cached.get("inactive_file", 0)))
    return None
