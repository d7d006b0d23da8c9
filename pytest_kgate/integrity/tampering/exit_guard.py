"""Exits with status 0 while a candidate is judged, which would let the session pass, are refused.

`os._exit` and `os.exec*` end a process without a report. The plugin replaces them before user code can keep references
to them; while a candidate is judged, the replacements raise. Once a record demands that its test fails, and pytest is
the program that runs, they end the process with status 1, also when the interpreter exits. Forked children, and exits
with another status, are let through. Native code can still end the process by itself: this is a tripwire, as is all
that runs in one process.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from pytest_kgate.errors import CandidateError

_FAILED = 1
"""pytest's exit status where tests have failed."""

_failed: list[int] = []
"""The id of the process in which a record demands a failure."""

_judging: list[int] = []
"""The id of the process that judges a candidate, once for each `no_successful_exit` block that it is in."""


def install_exit_guard() -> None:
    """Replace `os._exit`, `os.execv` and `os.execve` for the life of the process; more calls change nothing."""
    for name in ("_exit", "execv", "execve"):
        original = getattr(os, name)
        if getattr(original, "kgate_guard", False):
            continue
        guarded = _guarded(name, original)
        for module in (os, sys.modules.get("posix"), sys.modules.get("nt")):
            if getattr(module, name, None) is original:
                setattr(module, name, guarded)


def _guarded(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    exit_process = os._exit

    def leave(*arguments: Any, **named: Any) -> Any:
        succeeds = name != "_exit" or arguments == (0,) or named == {"status": 0}
        if succeeds and os.getpid() in _judging:
            raise CandidateError(
                f"The candidate tried to end the process by os.{name}, which would have passed for success.",
                "Let it return its answer, or raise.",
            )
        if succeeds and os.getpid() in _failed:
            sys.stderr.write(f"pytest-kgate: a gate failed, and os.{name} would have passed for success: status 1.\n")
            sys.stderr.flush()
            exit_process(_FAILED)
        return original(*arguments, **named)

    leave.kgate_guard = True  # type: ignore[attr-defined]
    leave.__name__, leave.__doc__ = name, original.__doc__
    return leave


def refuse_success() -> None:
    """Refuse, from now to the end of this process, to end it with success by `os._exit` or `os.exec*`.

    Not where another program has called `pytest.main`, which may make of a failed session what it likes.
    """
    program = os.path.basename(sys.argv[0]) if sys.argv else ""
    if program.removesuffix(".exe") in ("pytest", "py.test") or getattr(_main_spec(), "name", "") == "pytest.__main__":
        _failed.append(os.getpid())


def _main_spec() -> Any:
    return getattr(sys.modules.get("__main__"), "__spec__", None)


@contextlib.contextmanager
def no_successful_exit() -> Iterator[None]:
    """In the block, the guarded functions raise `CandidateError` where they would end this process with status 0."""
    _judging.append(os.getpid())
    try:
        yield
    finally:
        _judging.pop()
