"""Where the seconds of a call go, by purpose: each second counts once, for the innermost purpose that was under way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar


class Ledger:
    """Seconds by purpose. Work on a GPU counts where the host waits for it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._within: list[float] = []
        """Of each purpose under way, outermost first: seconds that purposes within it have taken."""

    def add(self, purpose: str, seconds: float) -> None:
        """Count seconds that were measured elsewhere; they are taken off the purpose that is under way."""
        self.seconds[purpose] = self.seconds.get(purpose, 0.0) + seconds
        if self._within:
            self._within[-1] += seconds

    @contextlib.contextmanager
    def counting(self, purpose: str) -> Iterator[None]:
        """Count the time of the block, less that of purposes within it."""
        start = time.perf_counter()
        self._within.append(0.0)
        try:
            yield
        finally:
            inner = self._within.pop()
            whole = time.perf_counter() - start
            self.add(purpose, max(0.0, whole - inner))
            if self._within:
                self._within[-1] += inner


_OPEN: ContextVar[Ledger | None] = ContextVar("kgate_ledger", default=None)


@contextlib.contextmanager
def ledger() -> Iterator[Ledger]:
    """Count all that the block does, and what it does under no other purpose as `other`."""
    opened = Ledger()
    token = _OPEN.set(opened)
    try:
        with opened.counting("other"):
            yield opened
    finally:
        _OPEN.reset(token)


@contextlib.contextmanager
def spent(purpose: str) -> Iterator[None]:
    """Count the block for a purpose in the ledger that is open, if any."""
    found = _OPEN.get()
    with contextlib.nullcontext() if found is None else found.counting(purpose):
        yield


def add_spent(purpose: str, seconds: float) -> None:
    """Count seconds that were measured otherwise, if a ledger is open."""
    found = _OPEN.get()
    if found is not None:
        found.add(purpose, seconds)
