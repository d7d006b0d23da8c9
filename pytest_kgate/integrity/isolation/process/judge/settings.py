"""How the judging process is scheduled and limited: read before a candidate's process starts, compared after it.

Linux lets every process of a user change these for every other one, thread by thread. The filter of system calls
refuses that; this is for machines that have none, and for ways that the filter does not know. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import fields

from pytest_kgate.integrity.isolation.process.confinement import system_calls
from pytest_kgate.system import procfs

_IOPRIO_WHO_PROCESS = 1
_CLAMPS = 0x60
"""SCHED_FLAG_UTIL_CLAMP of sched.h: set the clamps, too."""


class _Attributes(ctypes.Structure):
    """`struct sched_attr`."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("size", "policy")),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("runtime", "deadline", "period")),
        *((name, ctypes.c_uint32) for name in ("least", "most")),
    )


@dataclass(frozen=True)
class ThreadSettings:
    """How one thread is scheduled."""

    policy: int
    """SCHED_OTHER and others, see sched(7)."""
    nice: int
    priority: int
    """Of the real-time policies."""
    clamps: tuple[int, int]
    """The least and the most utilisation that the choice of a core's frequency takes it for, of 1024."""
    affinity: frozenset[int]
    """The cores that it may run on."""
    io_priority: int


class ThreadsSettings:
    """How the threads of this process are scheduled, as it was when this was made."""

    def __init__(self, *, only_main: bool = False, but_placed: bool = False) -> None:
        """`only_main`: of the main thread alone.

        `but_placed`: without threads that may run on fewer cores than the main one, as those of a kernel's pool.
        """
        main = os.getpid()
        self._threads = {main: _settings(main)} if only_main else dict(_threads())
        if but_placed:
            cores = frozenset(os.sched_getaffinity(main))
            self._threads = {thread: one for thread, one in self._threads.items() if one.affinity == cores}

    def restore(self, *, new_threads: bool) -> list[str]:
        """Put back what has changed; one clause for each kind, such as `affinity of 7 threads, which was put back`.

        `new_threads`: whether threads that were started since must be like one that was there before.
        """
        changed: Counter[str] = Counter()
        stayed: set[str] = set()
        known = set(self._threads.values())
        usual = self._threads.get(os.getpid())
        for thread, now in _threads():
            before = self._threads.get(thread, now if now in known or not new_threads else usual)
            if before is None or before == now:
                continue
            with contextlib.suppress(OSError):
                _set(thread, before)
            after = _settings(thread)
            for name in _differences(before, now):
                changed[name] += 1
                stayed |= {name} if name in _differences(before, after) else set()
        return [
            f"{name} of {count} thread{'s' if count > 1 else ''}, which {_outcome(name not in stayed)}"
            for name, count in changed.items()
        ]


class JudgeSettings:
    """The settings of this process's threads, and its limits, as they were when this was made."""

    def __init__(self) -> None:
        self._threads = ThreadsSettings()
        self._limits = dict(_limits())

    def restore(self, *, new_threads: bool) -> list[str]:
        """Put back what has changed, as `ThreadsSettings.restore` does; one clause for each."""
        found = self._threads.restore(new_threads=new_threads)
        for name, limits in _limits():
            wanted = self._limits[name]
            if limits != wanted:
                found.append(f"{name}: {wanted} -> {limits}, which {_outcome(_set_limit(name, wanted))}")
        return found


def _outcome(put_back: bool) -> str:
    return "was put back" if put_back else "can't be put back"


def _differences(one: ThreadSettings, other: ThreadSettings) -> set[str]:
    names = (field.name for field in fields(one))
    return {name for name in names if getattr(one, name) != getattr(other, name)}


def _threads() -> Iterator[tuple[int, ThreadSettings]]:
    for thread in procfs.thread_ids():
        with contextlib.suppress(OSError):  # ended meanwhile
            yield thread, _settings(thread)


def _settings(thread: int) -> ThreadSettings:
    found = _Attributes()
    _call("sched_getattr", thread, ctypes.byref(found), ctypes.sizeof(found), 0)
    return ThreadSettings(
        policy=found.policy,
        nice=found.nice,
        priority=found.priority,
        clamps=(found.least, found.most),
        affinity=frozenset(os.sched_getaffinity(thread)),
        io_priority=_call("ioprio_get", _IOPRIO_WHO_PROCESS, thread),
    )


def _set(thread: int, wanted: ThreadSettings) -> None:
    """Raises `OSError` where this process may not."""
    os.sched_setaffinity(thread, wanted.affinity)
    _call("ioprio_set", _IOPRIO_WHO_PROCESS, thread, wanted.io_priority)
    least, most = wanted.clamps
    flags = _CLAMPS if _settings(thread).clamps != wanted.clamps else 0
    asked = _Attributes(
        size=ctypes.sizeof(_Attributes),
        policy=wanted.policy,
        flags=flags,
        nice=wanted.nice,
        priority=wanted.priority,
        least=least,
        most=most,
    )
    _call("sched_setattr", thread, ctypes.byref(asked), 0)


def _limits() -> Iterator[tuple[str, tuple[int, int]]]:
    for name in sorted(dir(resource)):
        if name.startswith("RLIMIT_") and name not in ("RLIMIT_OFILE",):  # another name of RLIMIT_NOFILE
            yield name, resource.getrlimit(getattr(resource, name))


def _set_limit(name: str, wanted: tuple[int, int]) -> bool:
    number = getattr(resource, name)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(number, wanted)
    return resource.getrlimit(number) == wanted


def _call(name: str, *arguments: object) -> int:
    number = system_calls.number(name)
    if number is None:
        return 0  # of a machine whose calls are not known: nothing to compare
    found = int(_LIBC.syscall(number, *arguments))
    if found < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return found


_LIBC = ctypes.CDLL(None, use_errno=True)
