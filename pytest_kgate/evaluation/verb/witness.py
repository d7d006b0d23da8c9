"""In the session that `kgate evaluate` starts: notes each step as it begins, so that no ending leaves nothing known.

PYTEST_DONT_REWRITE: it asserts nothing, and a fork has imported it before, of which pytest would warn.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "KGATE_WITNESS"
"""Private environment variable: the file for the notes. Only a session that `kgate evaluate` started has it."""

STEPS = ("build", "wait", "check", "time")
"""Of a `kbench` call; it waits for the device."""


class Witness:
    """A pytest plugin that writes a line of JSON for each thing it sees; the file outlives the process."""

    def __init__(self, file: str) -> None:
        self._file = Path(file)

    def step(self, step: str) -> None:
        """Note that one of `STEPS` begins."""
        self._write({"step": step, "at": time.monotonic()})

    def built(
        self, source: Path, knobs: Mapping[str, int], arch: str | None, debug: bool, confined_seconds: float | None
    ) -> None:
        """Note that the test has a kernel built, or will as soon as it uses it: of this source, with these knobs."""
        how = {"arch": arch, "debug": debug, "confined_seconds": confined_seconds}
        self._write({"source": str(source.absolute()), "knobs": dict(knobs), **how})

    def demanded(self, speed_gates: int) -> None:
        """Note how many gates on its latency ratio the call has that has begun."""
        self._write({"speed_gates": speed_gates})

    def searched(self, facts: Mapping[str, Any]) -> None:
        """Note that the test has a search marker; `facts` are a `SearchFacts`."""
        self._write({"search": facts})

    def stuck(self, complaint: str) -> None:
        """Note that the session ends since the candidate does not return from native code."""
        self._write({"stuck": complaint})

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Start no workers of xdist, whatever the ini file says: what they are told and write is not seen here."""
        if config.pluginmanager.hasplugin("xdist"):
            config.option.numprocesses, config.option.dist, config.option.tx = 0, "no", []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what became of a test, and what pytest says of it."""
        if report.when == "call" or not report.passed:
            told = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            self._write({"test": report.nodeid, "outcome": report.outcome, "told": told})

    def _write(self, line: dict[str, Any]) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


WITNESS = pytest.StashKey[Witness]()
"""In the config of such a session."""


def pytest_configure(config: pytest.Config) -> None:
    """As a plugin of its own, named by `-p`: be there from the start."""
    file = os.environ.pop(VARIABLE, None)  # sessions that a test starts are none of ours
    if file is not None:
        from pytest_kgate.system.child_process import die_with_parent  # here, since every session of pytest would pay

        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")  # where memory ends, this process does, and no other
        die_with_parent()  # who starts `kgate evaluate` may kill it, and then nobody ends a candidate that hangs
        config.stash[WITNESS] = witness = Witness(file)
        config.pluginmanager.register(witness, "kgate-witness")
