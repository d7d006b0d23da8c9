"""The filter of system calls (seccomp) that the process of an isolated candidate gets before it loads the candidate.

Landlock, beside it, keeps the process from files and from other processes' memory. The filter keeps it from what
Landlock does not know: how other processes are scheduled, their limits, memory that outlasts all processes, namespaces.
Processes that it starts inherit the filter, and none can undo it. A call that is refused fails with EPERM. Needs Linux
on x86-64 or on 64-bit ARM.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable

from pytest_kgate.integrity.isolation.process.confinement import system_calls
from pytest_kgate.integrity.isolation.process.confinement.system_calls import Rule

_ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
"""AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64 of audit.h, by the machine's name."""

_X32 = 0x4000_0000
"""From this number on, calls on x86-64 are those of its other set of numbers."""

_LOAD, _RETURN = 0x20, 0x06
_IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT = 0x15, 0x35, 0x45
"""Operations of BPF with a constant; jumps tell how many instructions to skip if so, and if not."""

_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Offsets in `struct seccomp_data`; an argument has 8 bytes, the lower half first."""

_ALLOW = 0x7FFF_0000
_REFUSE = 0x0005_0000
"""SECCOMP_RET_ALLOW and SECCOMP_RET_ERRNO."""

_SET_FILTER, _SPEC_ALLOW = 1, 1 << 2
"""The operation, and the flag without which older kernels slow down all code that runs under a filter."""

_NO_NEW_PRIVILEGES = 38


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def apply_seccomp(*, signals: bool, sockets: bool) -> bool:
    """Filter the system calls of this thread and of all that it starts; call it while there is no other thread.

    `signals`: whether signals to other processes are refused, too: to those that the candidate has started as well.
    `sockets`: whether sockets of this machine (AF_UNIX) are refused; pairs of them never are.
    Returns whether the filter holds, which it can't where the kernel or the machine has none.
    """
    asked = system_calls.number("seccomp")
    if asked is None:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    code = program(os.getpid(), signals=signals, sockets=sockets)
    filled = _Program(len(code) // 8, code)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.syscall(asked, _SET_FILTER, _SPEC_ALLOW, ctypes.byref(filled)) == 0)


def program(pid: int, *, signals: bool, sockets: bool) -> bytes:
    """The filter's instructions for this machine; `pid` is the process's own."""
    refuse = _instruction(_RETURN, _REFUSE | errno.EPERM)
    code = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_IF_EQUAL, _ARCHITECTURES[platform.machine()], 1, 0),
        refuse,
        _instruction(_LOAD, _NUMBER),
        _instruction(_IF_AT_LEAST, _X32, 0, 1),
        refuse,
        _instruction(_IF_AT_LEAST, system_calls.FIRST_UNKNOWN, 0, 1),
        _instruction(_RETURN, _REFUSE | errno.ENOSYS),
    ]
    for name in system_calls.refused(signals=signals):
        code += _of_call(name, [refuse])
    for name in system_calls.NOT_THERE:
        code += _of_call(name, [_instruction(_RETURN, _REFUSE | errno.ENOSYS)])
    for rule in system_calls.rules(pid, signals=signals, sockets=sockets):
        code += _of_call(rule.call, [*_checked(rule), _instruction(_LOAD, _NUMBER)])
    return b"".join([*code, _instruction(_RETURN, _ALLOW)])


def _of_call(name: str, then: list[bytes]) -> Iterable[bytes]:
    """Instructions that run for one call, whose number must have been loaded before; skipped for all others."""
    number = system_calls.number(name)
    return [] if number is None else [_instruction(_IF_EQUAL, number, 0, len(then)), *then]


def _checked(rule: Rule) -> Iterable[bytes]:
    """Refuse the call where its argument is not as it should be, or go on behind."""
    refuse = _instruction(_RETURN, _REFUSE | errno.EPERM)
    yield _instruction(_LOAD, _ARGUMENTS + 8 * rule.argument)
    if rule.only:
        for left, value in zip(range(len(rule.only), 0, -1), rule.only, strict=True):
            yield _instruction(_IF_EQUAL, value, left, 0)  # past the other values and the refusal
        yield refuse
    for value in rule.never:
        yield _instruction(_IF_EQUAL, value, 0, 1)
        yield refuse
    if rule.bits:
        yield _instruction(_IF_ANY_BIT, rule.bits, 0, 1)
        yield refuse


def _instruction(operation: int, constant: int, if_so: int = 0, if_not: int = 0) -> bytes:
    """`struct sock_filter`."""
    return struct.pack("=HBBI", operation, if_so, if_not, constant)
