"""A pipe that ends with the process that made it, by which the processes that this has started end too."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def pipe() -> Iterator[int]:
    """The read end of a pipe that ends when this process does, however that comes about."""
    ends = os.pipe()
    try:
        yield ends[0]
    finally:
        for end in ends:
            os.close(end)


def end_with(lifeline: int) -> None:
    """End this process and what it started when the parent ends; sleeps until then, so that timing is not disturbed."""
    os.read(lifeline, 1)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
