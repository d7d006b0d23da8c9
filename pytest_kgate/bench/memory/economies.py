"""What a call gives up where memory is short, for its record: comfort first, so that the verdict can still be had."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_OPEN: ContextVar[list[str] | None] = ContextVar("kgate_economies", default=None)


@contextlib.contextmanager
def economies() -> Iterator[list[str]]:
    """Collect what is given up in the block, each once."""
    given_up: list[str] = []
    token = _OPEN.set(given_up)
    try:
        yield given_up
    finally:
        _OPEN.reset(token)


def give_up(what: str) -> None:
    """Note one thing that is given up, as a clause: what is done instead, and why."""
    found = _OPEN.get()
    if found is not None and what not in found:
        found.append(what)
