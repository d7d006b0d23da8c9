"""The pytest session that judges a candidate for `kgate evaluate`: started, limited, ended with what it began."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol
from typing import TypeAlias
from typing import cast

from pytest_kgate.errors import KgateError
from pytest_kgate.evaluation.verb.witness import STEPS
from pytest_kgate.evaluation.verb.witness import VARIABLE
from pytest_kgate.integrity.isolation.process.judge.guard import guard_process
from pytest_kgate.report.record.document import read
from pytest_kgate.system.child_process import Leader
from pytest_kgate.system.child_process import end_of
from pytest_kgate.system.child_process import signal_all
from pytest_kgate.system.folders.scratch import scratch

if TYPE_CHECKING:
    from typing import IO

    from pytest_kgate.evaluation.verb.answer import BuildFacts
    from pytest_kgate.evaluation.verb.answer import SearchFacts
    from pytest_kgate.report.record.record import Record


@dataclass(frozen=True)
class Asked:
    """What a session of `kgate evaluate` is to judge, and how."""

    candidate: str | None
    """As --kgate-candidate takes it; None for the test's own."""
    test: str
    """A node id, as pytest takes it."""
    arguments: tuple[str, ...]
    """More of them, for pytest."""
    limit_seconds: float
    """After which the session is ended, whatever it does; it may wait as long again for the device."""


@dataclass(frozen=True)
class Ended:
    """What is known of a session after its end."""

    status: int | None
    """Of the process, as `subprocess` has it; None where it was ended at the limit."""
    steps: Sequence[str]
    """That its `kbench` calls have begun, in their order: `build`, `wait`, `check`, `time`, then the next call's."""
    stuck: str
    """Why the session ended itself, as a sentence; empty where it did not."""
    reports: Sequence[Mapping[str, str]]
    """What became of each test: `outcome`, and what pytest has `told`."""
    records: Sequence[Record]
    """Of the calls that have ended."""
    builds: Sequence[BuildFacts]
    """The kernels that the test has asked for."""
    searches: Sequence[SearchFacts]
    """What the tests' search markers say, one for each test."""
    speed_gates: Sequence[int]
    """Of each call that came so far, how many gates it has on its latency ratio."""
    damaged: str
    """Why their file can't be read, as a sentence; empty where it can."""
    said: str
    """The end of what it printed."""


class Started(Leader, Protocol):
    """The process of a session that was started."""

    def wait(self, timeout: float | None = None) -> int:
        """Its status, as `subprocess` has it. Raises `subprocess.TimeoutExpired` after so many seconds."""


Start: TypeAlias = "Callable[[Sequence[str], Mapping[str, str], IO[str]], Started]"
"""Starts `python -m pytest` with these arguments and this environment; its output goes to the file."""


def start_process(arguments: Sequence[str], environment: Mapping[str, str], output: IO[str]) -> Started:
    """Start the session in a new Python."""
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def judged(asked: Asked, start: Start = start_process) -> Ended:
    """Run the session to its end or its limit; nothing that it started is left, no process and no temporary file."""
    with scratch("evaluate") as name:
        folder = Path(name)
        (folder / "tmp").mkdir()
        notes, records = folder / "notes.jsonl", folder / "records.json"
        arguments = ["-q", "-p", "pytest_kgate.evaluation.verb.witness", "-p", "no:cacheprovider", "--tb=short"]
        arguments += [f"--basetemp={folder / 'pytest'}", asked.test, f"--kgate-json={records}", *asked.arguments]
        arguments += [f"--kgate-candidate={asked.candidate}"] * (asked.candidate is not None)
        with (folder / "output").open("w+", encoding="utf-8", errors="replace") as output, guard_process():
            child = start(arguments, _environment(folder, notes), output)
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(child.pid, resource.RLIMIT_CORE, (0, 0))  # to write its memory to a disk takes long
            try:
                status = _wait(child, asked.limit_seconds, notes)
            finally:  # of Ctrl-C, too; what has left the group is ended by the guard
                signal_all(child, signal.SIGKILL)
                child.wait()
            said = end_of(output)
        noted, damaged, found = _notes(notes), "", []
        try:
            found = read(records)[0] if records.is_file() else []
        except KgateError as error:
            damaged = error.what
        return Ended(
            status,
            [line["step"] for line in noted if line.get("step") in STEPS],
            next((str(line["stuck"]) for line in noted if "stuck" in line), ""),
            [
                {name: str(value) for name, value in line.items()}
                for line in noted
                if {"outcome", "told"} <= line.keys()
            ],
            found,
            [cast("BuildFacts", line) for line in noted if _is_build(line)],
            [cast("SearchFacts", line["search"]) for line in noted if _is_search(line.get("search"))],
            [int(gates) for line in noted if isinstance(gates := line.get("speed_gates"), int) and gates >= 0],
            damaged,
            said,
        )


def _wait(child: Started, limit_seconds: float, notes: Path) -> int | None:
    """The status of a session that ends within its limit, or else None; it may wait as long again for the device."""
    start = time.monotonic()
    left = limit_seconds
    while left > 0:
        try:
            return child.wait(left)
        except subprocess.TimeoutExpired:
            now = time.monotonic()
            waited = min(waited_seconds(_notes(notes), now), limit_seconds)
            left = start + limit_seconds + waited - now
    return None


def waited_seconds(notes: Sequence[Mapping[str, Any]], now: float) -> float:
    """How long the calls have waited for the device, by the times at which their steps began."""
    steps: list[tuple[str, float]] = [
        (str(one["step"]), one["at"]) for one in notes if "step" in one and isinstance(one.get("at"), float)
    ]
    ends = [*(at for _, at in steps[1:]), now]
    return sum(max(0.0, end - at) for (step, at), end in zip(steps, ends, strict=False) if step == "wait")


def _is_build(note: Mapping[str, Any]) -> bool:
    """A candidate can have written anything."""
    return (
        note.keys() == {"source", "knobs", "arch", "debug", "confined_seconds"}
        and isinstance(note["source"], str)
        and isinstance(note["knobs"], dict)
        and all(isinstance(value, int) for value in note["knobs"].values())
        and isinstance(note["arch"], str | None)
        and isinstance(note["debug"], bool)
        and isinstance(note["confined_seconds"], float | int | None)
    )


def _environment(folder: Path, notes: Path) -> dict[str, str]:
    """With a folder for temporary files that is removed afterwards; what is worth keeping of them stays where it is."""
    kept = {"TORCHINDUCTOR_CACHE_DIR": str(Path(tempfile.gettempdir(), f"torchinductor_{os.getuid()}"))}
    # A step of CI that evaluates hundreds of candidates gets no summary of each.
    callers = {name: value for name, value in os.environ.items() if name != "GITHUB_STEP_SUMMARY"}
    return {**kept, **callers, "TMPDIR": str(folder / "tmp"), VARIABLE: str(notes)}


def _is_search(facts: Any) -> bool:
    """The same of what a search marker says."""
    tables = ("macro", "micro", "facts", "defaults")
    return (
        isinstance(facts, dict)
        and facts.keys() == {*tables, "where", "root"}
        and isinstance(facts["root"], str)
        and all(isinstance(facts[name], dict) for name in tables)
        and all(isinstance(values, list) for name in ("macro", "micro") for values in facts[name].values())
        and isinstance(facts["where"], list)
    )


def _notes(file: Path) -> list[dict[str, Any]]:
    """The whole lines; a process that was killed may have left a part of one, and a candidate anything."""
    found = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else ():
        with contextlib.suppress(ValueError, RecursionError):
            found.append(json.loads(line))
    return [line for line in found if isinstance(line, dict)]
