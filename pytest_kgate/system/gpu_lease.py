"""One device belongs to one process while it times: a lock that all processes and users of the machine share.

The lock is that of a file, which the operating system gives back when its holder ends, however that happens. The file
says who holds it. It is never removed: a waiting process would keep the lock of a file that nobody else can find.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

from pytest_kgate.errors import TimingError
from pytest_kgate.errors import UsageError
from pytest_kgate.system.folders.shared_folder import VARIABLE
from pytest_kgate.system.folders.shared_folder import shared_folder

_SAY_AFTER_SECONDS = 2.0
"""Of waiting, until someone should be told: most races are over sooner."""

_POLL_SECONDS = 0.05

_COMMAND_CHARACTERS = 100

_EVERYONE = 0o666

_held: dict[Path, tuple[int, int]] = {}
"""By the lock's file, process and thread that hold it; a fork has its parent's, and holds none."""


@contextlib.contextmanager
def leased(name: str, timeout_seconds: float, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the device called `name` (a GPU's UUID, or `host`), as soon as no other process or thread does.

    `waiting` is told once, after two seconds, for whom this thread waits. Raises `TimingError` after
    `timeout_seconds`, and where there can be no lock; `UsageError` where this thread holds it already, since it would
    wait for itself.
    """
    path, holder = shared_folder() / f"pytest-kgate-{name}.lock", (os.getpid(), threading.get_ident())
    if _held.get(path) == holder:
        raise UsageError(
            "kbench was called within a call of kbench, by a candidate or a problem: the inner call would wait for the "
            "outer one.",
            "Call one after the other.",
        )
    with _opened(path) as file:
        _acquire(file, name, path, timeout_seconds, waiting)
        _held[path] = holder
        try:
            _write_holder(file)
            yield
        finally:
            del _held[path]
            with contextlib.suppress(OSError):
                os.ftruncate(file, 0)
            fcntl.flock(file, fcntl.LOCK_UN)  # not left to `close`: a forked child may have the file open, too


def _acquire(file: int, name: str, path: Path, timeout_seconds: float, waiting: Callable[[str], None] | None) -> None:
    start = time.monotonic()
    while not _locked(file):
        waited = time.monotonic() - start
        if waited > timeout_seconds:
            raise TimingError(
                f"{_other(path)} has been timing on {name} for more than {timeout_seconds:g} s: {_holder(file)}.",
                f"Wait for it, end it, or raise --kgate-timeout; the lock is {path}.",
            )
        if waiting is not None and waited > _SAY_AFTER_SECONDS:
            waiting(f"waiting for {_other(path).lower()} that times on {name}: {_holder(file)}")
            waiting = None
        time.sleep(_POLL_SECONDS)


def _other(path: Path) -> str:
    """Who holds the lock."""
    process, _ = _held.get(path, (0, 0))
    return "Another thread of this process" if process == os.getpid() else "Another process"


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The lock file, which every user may open; raises `TimingError` where it can't be made or opened."""
    try:
        file = _open(path)
    except OSError as error:
        raise TimingError(
            f"The lock {path} can't be opened: {error.strerror}.",
            f"Without it, two sessions may time at once. Make it writable, or set {VARIABLE} to a folder for locks.",
        ) from error
    try:
        yield file
    finally:
        os.close(file)


def _open(path: Path) -> int:
    """Open what is there, or make it; never both in one call, which Linux may refuse for another user's file.

    See `protected_regular` in the kernel's documentation of /proc/sys/fs.
    """
    while True:
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        handle, new = tempfile.mkstemp(prefix="pytest-kgate-", dir=path.parent)
        try:
            os.fchmod(handle, _EVERYONE)
            os.link(new, path)  # with its permissions from the first moment on
        except FileExistsError:
            pass  # another process was faster
        finally:
            os.close(handle)
            os.unlink(new)


def _write_holder(file: int) -> None:
    told = {"pid": os.getpid(), "command": _command(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(told).encode("ascii"), 0)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise  # a full disk only costs others the name


def _command() -> str:
    """What this process was started as, shortened."""
    program = Path(sys.argv[0] or sys.executable)
    name = f"python -m {program.parent.name}" if program.name == "__main__.py" else program.name
    text = " ".join([name, *sys.argv[1:]])
    return text if len(text) <= _COMMAND_CHARACTERS else f"{text[: _COMMAND_CHARACTERS - 3]}..."


def _holder(file: int) -> str:
    """Who wrote the file, as a clause; it may have been written a moment ago, or not yet."""
    try:
        told = json.loads(os.pread(file, 4096, 0))
        return f"process {int(told['pid'])}, `{_printable(told['command'])}`, since {_printable(told['since'])}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it has not said who it is"


def _printable(text: object) -> str:
    """Another user wrote it."""
    return "".join(one if one.isprintable() else "?" for one in str(text)[: 2 * _COMMAND_CHARACTERS])
