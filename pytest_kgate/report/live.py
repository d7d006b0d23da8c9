"""The line that shows a long race's progress; only on a terminal, and gone when the race ends."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_kgate.race import Progress

_FIRST_AFTER_SECONDS = 0.5
_EVERY_SECONDS = 0.1
_CLEAR_LINE = "\r\x1b[2K"
_LINE_UP = "\x1b[1A"


class LiveLine:
    """Use as a context manager around a race, with `update` as its progress callback."""

    def __init__(self, config: pytest.Config, test: str) -> None:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        shown = reporter is not None and reporter.isatty and not hasattr(config, "workerinput")
        self._reporter = reporter if shown else None
        self._test = test.rpartition("::")[2]
        self._start = self._last = time.monotonic()
        self._drawn = False

    def __enter__(self) -> LiveLine:
        return self

    def update(self, progress: Progress) -> None:
        """Redraw, at most ten times a second."""
        now = time.monotonic()
        if self._reporter is None or now - self._start < _FIRST_AFTER_SECONDS or now - self._last < _EVERY_SECONDS:
            return
        self._last = now
        if not self._drawn:
            self._reporter.ensure_newline()  # leaves the line of dots as it is
            self._drawn = True
        text = f"{self._test}: round {progress.rounds}, ratio {progress.ratio:.3f}, {progress.spent_seconds:.1f} s"
        writer = self._reporter._tw  # the one stream that is not captured
        writer.write(_CLEAR_LINE + text[: writer.fullwidth - 1], flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reporter is not None and self._drawn:
            # The reporter starts a new line before it writes on: that is the line just cleared.
            self._reporter._tw.write(_CLEAR_LINE + _LINE_UP, flush=True)
