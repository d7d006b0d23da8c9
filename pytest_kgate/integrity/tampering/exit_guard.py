"""Exits with status 0 while a candidate is judged, which would let the session pass, are refused.

`os._exit` and `os.exec*` end a process without a report. The plugin replaces them before user code can keep references
to them; while a candidate is judged, the replacements raise. Forked children, and exits with another status, are let
through. Native code can still end the process by itself: this is a tripwire, as is all that runs in one process.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from pytest_kgate.errors import CandidateError

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
    def leave(*arguments: Any, **named: Any) -> Any:
        succeeds = name != "_exit" or arguments == (0,) or named == {"status": 0}
        if succeeds and os.getpid() in _judging:
            raise CandidateError(
                f"The candidate tried to end the process by os.{name}, which would have passed for success.",
                "Let it return its answer, or raise.",
            )
        return original(*arguments, **named)

    leave.kgate_guard = True  # type: ignore[attr-defined]
    leave.__name__, leave.__doc__ = name, original.__doc__
    return leave


@contextlib.contextmanager
def no_successful_exit() -> Iterator[None]:
    """In the block, the guarded functions raise `CandidateError` where they would end this process with status 0."""
    _judging.append(os.getpid())
    try:
        yield
    finally:
        _judging.pop()
