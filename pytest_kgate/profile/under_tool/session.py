"""A pytest session in a child process below one of NVIDIA's tools: how it is started, and what became of its tests.

In that session `kbench` only launches the candidate; see `launch_only.py`, which also writes the file of results.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.bench.processes.variable import environment_of_session
from pytest_kgate.profile.under_tool.phases import Phases
from pytest_kgate.profile.under_tool.phases import phases_of
from pytest_kgate.profile.under_tool.variables import FULL_SIZE
from pytest_kgate.profile.under_tool.variables import RESULTS
from pytest_kgate.profile.under_tool.variables import TOOL
from pytest_kgate.system.child_process import signal_name
from pytest_kgate.system.folders.scratch import scratch

if TYPE_CHECKING:
    import pytest

    from pytest_kgate.device.protocol import Device

_TAIL_LINES = 6

_STEP_SECONDS = 0.5
"""So often a thread looks whether it is to stop."""


@dataclass(frozen=True)
class ToolSession:
    """How pytest is started."""

    directory: Path
    """Where."""
    arguments: tuple[str, ...] = ()
    """For pytest, before the tests."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """In addition to this process's own."""
    timeout_seconds: float = 300.0
    """How long one session may take."""
    full_size: bool = False
    """Whether a problem runs as it is where it has a smaller one."""
    stopped: threading.Event = field(default_factory=threading.Event)
    """Once it is set no session goes on; `run_session` ends with KeyboardInterrupt, in whatever thread it runs."""


@dataclass(frozen=True)
class EndedSession:
    """What is known of a session after its end."""

    collected: Mapping[str, str] | None
    """The node ids that it was to run, each with the argument by which pytest finds it; None if it got not so far."""
    lines: Mapping[str, Mapping[str, Any]]
    """What became of those that it ran: test, outcome, message."""
    launched: Mapping[str, Sequence[Mapping[str, str]]]
    """Candidate and problem of each `kbench` call of each test, also of one that took the process down."""
    output: str
    """What pytest and the tool printed."""
    status: int | None
    """Of the process; None where it was ended at the timeout."""
    seconds: float
    phases: Phases = field(default_factory=Phases)
    """Where these seconds went."""
    written: Mapping[str, Sequence[Sequence[tuple[int, int]]]] = field(default_factory=dict)
    """By test, address and bytes of each answer that is written whole, nothing of one that is not; a test that is
    missing could not be asked, as where its candidate takes no output."""

    def line(self, test: str) -> Mapping[str, Any]:
        """What became of the test; its outcome is `lost` where the process ended before it did."""
        line = self.lines.get(test, {"test": test, "outcome": "lost"})
        return {**line, "launched": self.launched.get(test, ())}

    @property
    def written_whole(self) -> Sequence[tuple[int, int]]:
        """Address and bytes of all answers, where each is written whole; memory is used again, by other tests too."""
        answers = [answer for of_test in self.written.values() for answer in of_test]
        return [memory for answer in answers for memory in answer] if all(answers) else []

    @property
    def tail(self) -> str:
        """The last lines of what was printed, in one; empty where nothing was."""
        return " / ".join(self.output.strip().splitlines()[-_TAIL_LINES:])

    @property
    def ending(self) -> str:
        """How the process ended: `status 3`, `signal SIGSEGV`, `a timeout`."""
        if self.status is None:
            return "a timeout"
        if self.status >= 0:
            return f"status {self.status}"
        try:
            return f"signal {signal_name(-self.status)}"
        except ValueError:
            return f"signal {-self.status}"

    @property
    def complete(self) -> bool:
        """Whether all tests ran to their end, and none of them failed."""
        ran = self.collected is not None and self.lines.keys() == self.collected.keys()
        fine = all(line["outcome"] in ("passed", "skipped") for line in self.lines.values())
        return ran and fine and self.status is not None


def run_session(tool: str, command: Sequence[str], tests: Sequence[str], session: ToolSession) -> EndedSession:
    """Run pytest on the tests, node ids, files or folders, as the program that `command` starts and watches.

    `tool` is its name for people. Raises KeyboardInterrupt once `session.stopped` is set.
    """
    with scratch("under-tool") as folder:
        results, output = Path(folder) / "results.jsonl", Path(folder) / "output.txt"
        environment = {
            **{name: value for name, value in environment_of_session().items() if not name.startswith("PYTEST_XDIST_")},
            **session.environment,
            TOOL: tool,
            RESULTS: str(results),
            FULL_SIZE: "1" if session.full_size else "",
        }
        environment.pop("PYTEST_CURRENT_TEST", None)
        start = time.monotonic()
        with output.open("w", encoding="utf-8") as file:
            status = _wait([*command, *_pytest(session), *tests], environment, session, file.fileno())
        end = time.monotonic()
        told = [json.loads(line) for line in read(results).splitlines()]
        launched: dict[str, list[Mapping[str, str]]] = {}
        written: dict[str, list[list[tuple[int, int]]]] = {}
        for line in told:
            if "written" in line:
                written.setdefault(line["written"], []).append([(address, size) for address, size in line["memory"]])
            if "launch" in line:
                told_of_it = {name: value for name, value in line.items() if name not in ("launch", "at")}
                launched.setdefault(line["launch"], []).append(told_of_it)
        return EndedSession(
            next((line["collected"] for line in told if "collected" in line), None),
            {line["test"]: line for line in told if "test" in line},
            launched,
            read(output),
            status,
            end - start,
            phases_of(told, start, end),
            written,
        )


def read(path: Path) -> str:
    """A file that a child may have written; empty where it did not."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _pytest(session: ToolSession) -> list[str]:
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
    pytest += ["--capture=sys"]  # what the driver says of an assert would be lost with a process that ends in one
    return [*pytest, *session.arguments]


def _wait(command: Sequence[str], environment: Mapping[str, str], session: ToolSession, output: int) -> int | None:
    """The child's exit status; None where it was ended at the timeout, with all that it had started."""
    end = time.monotonic() + session.timeout_seconds
    with _started(command, environment, session, output) as child:
        while not session.stopped.is_set():
            try:
                return child.wait(max(0.0, min(_STEP_SECONDS, end - time.monotonic())))
            except subprocess.TimeoutExpired:
                if time.monotonic() >= end:
                    return None
        raise KeyboardInterrupt


@contextlib.contextmanager
def _started(
    command: Sequence[str], environment: Mapping[str, str], session: ToolSession, output: int
) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        command,
        cwd=session.directory,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield child
    finally:  # after Ctrl-C too
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # its own session: the tool and the Python below it
            child.wait()


def argument_of(item: pytest.Item) -> str:
    """What pytest finds the test by from any folder: its file's whole path, and its name there."""
    return f"{item.path}::{item.nodeid.partition('::')[2]}"


def arguments_like(config: pytest.Config) -> tuple[str, ...]:
    """What makes the child collect as this session did: its root, ini file, plugins, overridden ini values and shapes.

    Nothing is deselected, and xdist starts no workers, whatever the ini file says.
    """
    arguments = [f"--rootdir={config.rootpath}", "-m", "", "-k", ""]
    if config.inipath is not None:
        arguments += ["-c", str(config.inipath)]
    for plugin in config.getoption("plugins") or ():
        arguments += ["-p", str(plugin)]
    for override in config.getoption("override_ini") or ():
        arguments += ["-o", str(override)]
    for flag in ("--kgate-shapes", "--kgate-candidate"):
        value = config.getoption(flag.strip("-").replace("-", "_"), None)
        if value is not None:
            arguments.append(f"{flag}={value}")
    if config.pluginmanager.hasplugin("xdist"):
        arguments += ["-n0"]
    return tuple(arguments)


def environment_like(device: Device, timeout_seconds: float, arch: str | None, debug: bool) -> dict[str, str]:
    """The options that reach a launch, as variables: they take the place of what this session's own variables say."""
    values = {
        "device": device.torch_device if device.torch_device.startswith("cuda") else None,
        "timeout": timeout_seconds,
        "arch": arch,
        "debug": debug or None,
    }
    return {f"KGATE_{name.upper()}": str(value) for name, value in values.items() if value is not None}
