"""Child processes: how they end together with their parent, how all of a group are signalled, what they said last."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import IO

_LINES = 6
"""Of a process's output, in the reason why it failed."""


_READ_BYTES = 2**16
"""Of the end of that output."""


@contextlib.contextmanager
def parent_pipe() -> Iterator[int]:
    """The read end of a pipe, to be inherited by children; it reads end-of-file once this process has ended.

    Nothing is ever written to it. The write end closes with this process, however that ends, SIGKILL included.
    """
    ends = os.pipe()
    try:
        yield ends[0]
    finally:
        for end in ends:
            os.close(end)


def end_with_parent(read_end: int) -> None:
    """Wait for the end of the parent that holds the pipe, then kill this process's group if this process leads it.

    Runs in a daemon thread of the child. It blocks in one read, so that it disturbs no timing.
    """
    os.read(read_end, 1)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)


def signal_all(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a child that was started with `start_new_session`, and to all processes of its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def last_lines(output: IO[str]) -> list[str]:
    """The last lines, without empty ones, of the file that a child's output went to.

    Only the file's end is read, since a child may have made it larger than the memory.
    """
    size = os.fstat(output.fileno()).st_size
    text = os.pread(output.fileno(), _READ_BYTES, max(0, size - _READ_BYTES)).decode("utf-8", errors="replace")
    return [line.rstrip() for line in text.splitlines() if line.strip()][-_LINES:]
