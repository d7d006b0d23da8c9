"""A process that ends with status 0 in the middle of a gate would be taken for a passed session.

`os._exit` and `os.exec*` leave no chance to say otherwise, so while a candidate is judged they raise instead. The
plugin puts its own in their place before user code can keep the originals. A forked child may leave as it likes, and so
may whoever reports a failure. As all in this process it is a tripwire: native code has ways of its own.
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
"""The process that judges a candidate now, once for each gate that has begun in it."""


def guard() -> None:
    """Replace the ways out, for good; once is enough."""
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
def nobody_leaves() -> Iterator[None]:
    """In the block this process can't be ended with success."""
    _judging.append(os.getpid())
    try:
        yield
    finally:
        _judging.pop()
