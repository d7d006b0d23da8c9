"""Landlock, by which the process of an isolated candidate gives up rights before it loads the candidate.

It can then write to its own folder and to the GPU's device files only, and can neither trace other processes nor send
signals to them. A compiler of the candidate's source can read only what it is told, besides. Processes that it starts
inherit this, and none can undo it. Needs Linux with Landlock.
"""

from __future__ import annotations

import ctypes
import glob
import os
from collections.abc import Sequence
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""Numbers of the system calls landlock_create_ruleset, landlock_add_rule and landlock_restrict_self."""

_ASK_VERSION = 1
_PATH_BENEATH = 1
"""LANDLOCK_CREATE_RULESET_VERSION and LANDLOCK_RULE_PATH_BENEATH of landlock.h."""

_NO_NEW_PRIVILEGES = 38
"""PR_SET_NO_NEW_PRIVS of prctl.h."""

_WRITE_FILE = 1 << 1
_CHANGES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
"""Rights to write, remove and make files of all kinds. Version 2 adds moving them, version 3 truncating them, version 5
commands to devices (ioctl), such as those that set up a terminal."""

_READS = 1 << 0 | 1 << 2 | 1 << 3
_LIST = 1 << 3
"""Rights to run and to read files, and to list folders."""

_REFER, _TRUNCATE, _COMMANDS = 1 << 13, 1 << 14, 1 << 15
_SCOPES_SINCE = 6
_SOCKETS, _SIGNALS = 1 << 0, 1 << 1
"""Scopes that forbid abstract sockets of, and signals to, processes outside; since that version."""

_CONNECTIONS, _CONNECTIONS_SINCE = 1 << 0 | 1 << 1, 4
"""Rights to offer and to make TCP connections, known since that version."""

_OWN_THREADS = "/proc/self/task"
"""Where names of threads are written: CUDA's driver names its threads, and fails with error 304 where it can't. The
rule holds for this process's threads only, so that CUDA can't be started in processes that the candidate starts."""

_ALWAYS = ("/dev/null",)
_FOR_CUDA = ("/dev/nvidia*", "/dev/dxg", _OWN_THREADS)
"""Paths and patterns that may be written to, besides the process's own folder."""


class _Rules(ctypes.Structure):
    """`struct landlock_ruleset_attr`."""

    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    """`struct landlock_path_beneath_attr`."""

    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def apply_landlock(folder: Path, *, cuda: bool) -> int:
    """Confine this thread and all that it starts to writing in `folder`; call it while there is no other thread.

    `cuda`: whether the GPU's device files stay writable. Returns Landlock's version; 0 where this kernel has none, and
    nothing is confined. Raises `OSError` where a system call fails.
    """
    patterns = (glob.escape(str(folder)), *_ALWAYS, *(_FOR_CUDA if cuda else ()))
    version = _restrict([found for pattern in patterns for found in glob.glob(pattern)])
    if version and cuda:
        # Linux may forget a folder of /proc that nobody has open, and would make another, for which no rule stands.
        os.open(_OWN_THREADS, os.O_PATH | os.O_CLOEXEC)
    return version


def apply_to_reading(folder: Path, readable: Sequence[str]) -> int:
    """Confine this thread and all that it starts to reading these paths and to `folder`, without TCP connections.

    Paths that are not there are left out. Returns Landlock's version; 0 where this kernel has none, and nothing is
    confined. Raises `OSError` where a system call fails.
    """
    return _restrict([str(folder), "/dev/null"], [path for path in readable if os.path.exists(path)])


def _restrict(writable: Sequence[str], readable: Sequence[str] | None = None) -> int:
    """Restrict to these paths; with `readable` None, reading and connections are not restricted."""
    libc, found = ctypes.CDLL(None, use_errno=True), landlock_version()
    if not found:
        return 0
    files = _CHANGES | (_REFER if found >= 2 else 0) | (_TRUNCATE if found >= 3 else 0)
    files |= _COMMANDS if found >= 5 else 0
    files |= _READS if readable is not None else 0
    network = _CONNECTIONS if readable is not None and found >= _CONNECTIONS_SINCE else 0
    rules = _Rules(files, network, _SOCKETS | _SIGNALS if scopes_signals(found) else 0)
    # An older kernel takes the longer structure as long as what it does not know is 0.
    ruleset = _checked(libc.syscall(_CREATE, ctypes.byref(rules), ctypes.c_size_t(ctypes.sizeof(rules)), 0))
    for path in writable:
        _allow(libc, ruleset, path, files)
    for path in readable or ():
        _allow(libc, ruleset, path, _READS)
    _checked(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _checked(libc.syscall(_RESTRICT, ruleset, 0))
    os.close(ruleset)
    return found


def landlock_version() -> int:
    """The version of Landlock's interface in this kernel; 0 where there is none."""
    return max(0, int(ctypes.CDLL(None).syscall(_CREATE, None, ctypes.c_size_t(0), _ASK_VERSION)))


def scopes_signals(version: int) -> bool:
    """Whether this version keeps the process from sending signals to processes outside."""
    return version >= _SCOPES_SINCE


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, files: int) -> None:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    # Rules for files that are no folders take these rights only.
    allowed = files if os.path.isdir(path) else files & (_WRITE_FILE | _TRUNCATE | _COMMANDS | _READS & ~_LIST)
    beneath = _Beneath(allowed, opened)
    _checked(libc.syscall(_ADD, ruleset, _PATH_BENEATH, ctypes.byref(beneath), 0))
    os.close(opened)


def _checked(status: int) -> int:
    if status < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return int(status)
