"""What the process of an isolated candidate gives up before it loads the candidate, where Linux has Landlock.

It can then write to its own folder and to the GPU, and to no other file; it can neither look into processes outside of
it, nor send them signals. What it starts inherits all that, and nobody in it can undo it.
"""

from __future__ import annotations

import ctypes
import glob
import os
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""Numbers of the system calls, the same on all architectures."""

_ASK_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38

_WRITE_FILE = 1 << 1
_CHANGES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
"""Write to files, remove them, make all kinds of them; since version 2 move them, since 3 cut them off."""

_REFER, _TRUNCATE = 1 << 13, 1 << 14
_SOCKETS, _SIGNALS = 1 << 0, 1 << 1
"""Abstract sockets, and signals, of processes outside; since version 6."""

_OWN_THREADS = "/proc/self/task"
"""Where a thread names another of its process: CUDA's driver does, and gives up (error 304) where it can't. A rule for
this process is none for another, so that CUDA starts in no process that the candidate starts."""

_ALWAYS = ("/dev/null", _OWN_THREADS)
_FOR_CUDA = ("/dev/nvidia*", "/dev/dxg")


class _Rules(ctypes.Structure):
    """landlock_ruleset_attr."""

    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    """landlock_path_beneath_attr."""

    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def apply_landlock(folder: Path, *, cuda: bool) -> int:
    """Confine this thread and all that it starts; call it while there is no other thread.

    `cuda` leaves it what the driver of a GPU needs. Returns Landlock's version, 0 where there is none and nothing was
    given up.
    """
    libc, found = ctypes.CDLL(None, use_errno=True), landlock_version()
    if not found:
        return 0
    files = _CHANGES | (_REFER if found >= 2 else 0) | (_TRUNCATE if found >= 3 else 0)
    rules = _Rules(files, 0, _SOCKETS | _SIGNALS if found >= 6 else 0)
    # An older kernel takes the longer structure as long as what it does not know is 0.
    ruleset = _checked(libc.syscall(_CREATE, ctypes.byref(rules), ctypes.c_size_t(ctypes.sizeof(rules)), 0))
    patterns = (glob.escape(str(folder)), *_ALWAYS, *(_FOR_CUDA if cuda else ()))
    for path in (found for pattern in patterns for found in glob.glob(pattern)):
        _allow(libc, ruleset, path, files)
    # Linux may forget a folder of /proc that nobody has open, and would make another, for which no rule stands.
    os.open(_OWN_THREADS, os.O_PATH | os.O_CLOEXEC)
    _checked(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _checked(libc.syscall(_RESTRICT, ruleset, 0))
    os.close(ruleset)
    return found


def landlock_version() -> int:
    """Landlock's, of this kernel; 0 where there is none."""
    return max(0, int(ctypes.CDLL(None).syscall(_CREATE, None, ctypes.c_size_t(0), _ASK_VERSION)))


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, files: int) -> None:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    # Of what is no folder, only that it may be written to can be said.
    allowed = files if os.path.isdir(path) else files & (_WRITE_FILE | _TRUNCATE)
    beneath = _Beneath(allowed, opened)
    _checked(libc.syscall(_ADD, ruleset, _PATH_BENEATH, ctypes.byref(beneath), 0))
    os.close(opened)


def _checked(status: int) -> int:
    if status < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return int(status)
