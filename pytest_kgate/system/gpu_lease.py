"""One device belongs to one process while it times: a lock that all processes of the host share."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock
from filelock import Timeout

from pytest_kgate.errors import TimingError


@contextlib.contextmanager
def leased(name: str, timeout_seconds: float) -> Iterator[None]:
    """Hold the device called `name` (a GPU's UUID, or `host`); waits for other processes of this user."""
    folder = Path(tempfile.gettempdir()) / f"pytest-kgate-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{name}.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout_seconds)
    except Timeout:
        raise TimingError(
            f"Another process has been timing on {name} for more than {timeout_seconds:g} s.",
            f"Wait for it, end it, or raise --kgate-timeout; the lock is {path}.",
        ) from None
    try:
        yield
    finally:
        lock.release()
