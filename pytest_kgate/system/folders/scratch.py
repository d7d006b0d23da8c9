"""Folders for the files of child processes, removed with the block that made them, or by whoever comes after a kill.

The process that made one holds the lock of a file in it, which the operating system gives back however that process
ends. A folder whose lock can be had is nobody's any more, and the next process to make one removes it. The file gets
its name only once it is locked, so that a folder that is just being made is never taken for a leftover. One without
the file is left alone: it is not ours, or its file system has no locks.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # on Windows: what is killed there leaves its folder
    fcntl = None  # type: ignore[assignment]

_PREFIX = "kgate-"

_LOCK = ".kgate-in-use"

_swept: set[Path] = set()
"""Where this process has looked for leftovers."""


@contextlib.contextmanager
def scratch(kind: str) -> Iterator[str]:
    """The path of a new folder `kgate-KIND-...` where temporary files go; what can't be removed of it is left."""
    parent = Path(tempfile.gettempdir())
    if parent not in _swept:
        _swept.add(parent)
        remove_leftovers(parent)
    folder, owner = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{kind}-")), os.getpid()
    lock = _locked(folder)
    try:
        yield str(folder)
    finally:
        if os.getpid() == owner:  # not in a process that was forked meanwhile
            shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def remove_leftovers(parent: Path) -> None:
    """Remove this user's folders of which the processes have ended; nothing is raised."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        names = [name for name in os.listdir(parent) if name.startswith(_PREFIX)]
        for folder in (parent / name for name in names):
            with contextlib.suppress(OSError):
                _remove_if_left(folder)


def _remove_if_left(folder: Path) -> None:
    """Raises OSError where it is in use, or none of ours."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _locked(folder: Path) -> int | None:
    """The descriptor that holds the folder's lock; None where there can be none."""
    if fcntl is None:
        return None
    new = folder / f"{_LOCK}.new"
    try:
        lock = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(new, folder / _LOCK)
    except OSError:
        os.close(lock)
        return None
    return lock
