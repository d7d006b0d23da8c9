"""The line that shows a long race's progress; only on a terminal, and gone when the race ends."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from contextlib import nullcontext
from types import TracebackType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_kgate.bench.race.race import Progress

_FIRST_AFTER_SECONDS = 0.5
_EVERY_SECONDS = 0.1
_CLEAR_LINE = "\r\x1b[2K"
_LINE_UP = "\x1b[1A"


class LiveLine:
    """The line that shows a race's progress: a context manager around the race, with `update` as its callback."""

    def __init__(self, config: pytest.Config, test: str) -> None:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        shown = reporter is not None and reporter.isatty and not hasattr(config, "workerinput")
        self._reporter = reporter if shown else None
        self._log = reporter
        """None in a worker of xdist."""
        self._capture = config.pluginmanager.get_plugin("capturemanager")
        self._nodeid = test
        self._test = test.rpartition("::")[2]
        self._start = self._last = time.monotonic()
        self._drawn = False

    def __enter__(self) -> LiveLine:
        return self

    def update(self, progress: Progress) -> None:
        """Redraw the line, at most ten times a second."""
        now = time.monotonic()
        if self._reporter is None or now - self._start < _FIRST_AFTER_SECONDS or now - self._last < _EVERY_SECONDS:
            return
        self._last = now
        text = f"{self._test}: round {progress.rounds}, ratio {progress.ratio:.3f}, {progress.spent_seconds:.1f} s"
        with self._uncaptured():
            if not self._drawn:
                self._reporter.ensure_newline()  # leaves the line of dots as it is
                self._drawn = True
            self._reporter.write(_CLEAR_LINE + text[: self._reporter._tw.fullwidth - 1], flush=True)

    def notice(self, text: str) -> None:
        """Say something that stays, on a line of its own."""
        if self._reporter is None:
            return
        with self._uncaptured():
            self._say(text)
            self._go_on_from_here()

    def waiting(self, text: str) -> None:
        """Say why nothing goes on, on a line of its own; in a log and from a worker, too."""
        with self._uncaptured():
            if self._log is None:
                print(f"{self._nodeid}: {text}", file=sys.__stderr__, flush=True)
                return
            self._say(text)
            self._log.flush()
            if self._reporter is not None:
                self._go_on_from_here()

    def _say(self, text: str) -> None:
        from pytest_kgate.report.text.render import wrapped  # here, since most sessions have nothing to say

        assert self._log is not None
        self._log.ensure_newline()
        for line in wrapped(f"{self._test}: {text}", self._log._tw.fullwidth, "  "):
            self._log.write_line(line, yellow=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reporter is not None and self._drawn:
            with self._uncaptured():
                self._reporter.write(_CLEAR_LINE, flush=True)
                self._go_on_from_here()

    def _go_on_from_here(self) -> None:
        """Let the reporter take up its line of dots: what it writes next begins with a line break."""
        assert self._reporter is not None
        if self._reporter.showfspath:
            self._reporter.write(_LINE_UP, flush=True)
            if not self._reporter.showlongtestinfo:
                self._reporter.write_fspath_result(self._nodeid, "")

    def _uncaptured(self) -> AbstractContextManager[None]:
        """While a test runs, the reporter's stream is captured like all others."""
        if self._capture is None:
            return nullcontext()
        context: AbstractContextManager[None] = self._capture.global_and_fixture_disabled()
        return context
