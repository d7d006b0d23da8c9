"""Start one process of a gate: a pytest session for a single test, with the options of this session."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.bench.processes.task import Task
from pytest_kgate.bench.processes.variable import VARIABLE
from pytest_kgate.bench.processes.variable import environment_of_session
from pytest_kgate.errors import KgateError
from pytest_kgate.system.child_process import last_lines
from pytest_kgate.system.child_process import parent_pipe
from pytest_kgate.system.child_process import run_limited
from pytest_kgate.system.child_process import signal_name
from pytest_kgate.system.folders.scratch import scratch

if TYPE_CHECKING:
    import pytest

    from pytest_kgate.report.record.record import Record

_GRACE_SECONDS = 10.0
"""Time for an interrupted process to tear down its fixtures, before it is killed."""


class ProcessFailed(KgateError):
    """A process of a gate ended without handing over a record."""


@dataclass(frozen=True)
class Launcher:
    """The command line and folder of this session, with which the processes of a gate are started."""

    arguments: tuple[str, ...]
    folder: Path

    @classmethod
    def of(cls, config: pytest.Config) -> Launcher:
        """The command line of this session, without what several sessions can't share: xdist, a JUnit file."""
        given = config.invocation_params
        overrides = ["-rfEs"]
        if config.pluginmanager.hasplugin("xdist"):
            overrides.append("-n0")
        if config.pluginmanager.hasplugin("junitxml"):
            overrides.append("--junitxml=")
        return cls((*(str(one) for one in given.args), *overrides), given.dir)

    def run(self, task: Task, limit_seconds: float) -> Record:
        """Start a process for this task, wait for it and return its record.

        Raises `ProcessFailed` where there is none after `limit_seconds`, or when the process has ended.
        """
        with scratch("process") as name:
            folder = Path(name)
            answer = folder / "answer.json"
            with parent_pipe() as pipe, (folder / "output").open("w+", encoding="utf-8", errors="replace") as output:
                replace(task, answer=str(answer), parent_pipe=pipe).save(folder / "task.json")
                # pytest empties --basetemp when it starts: a session's own must not be shared.
                command = [sys.executable, "-m", "pytest", *self.arguments, f"--basetemp={folder / 'tmp'}"]
                environment = {**environment_of_session(), VARIABLE: str(folder / "task.json")}
                status, timed_out = run_limited(
                    command,
                    folder=self.folder,
                    environment=environment,
                    pipe=pipe,
                    output=output,
                    ends=((limit_seconds, signal.SIGKILL),),
                    told=signal.SIGINT,
                    grace_seconds=_GRACE_SECONDS,
                )
                said = last_lines(output)
            found = json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else {}
        if "record" in found:
            record: Record = found["record"]
            return record
        if "error" in found:
            raise ProcessFailed(f"Process {task.process} of {task.of} could not measure.", found["error"])
        raise _explained(task, limit_seconds if timed_out else None, status, said)


def _explained(task: Task, limit_seconds: float | None, status: int, said: list[str]) -> ProcessFailed:
    which = f"Process {task.process} of {task.of}"
    if limit_seconds is not None:
        what = f"{which} was ended after {limit_seconds:g} s without a result"
    elif status < 0:
        what = f"{which} crashed: signal {signal_name(-status)} ended it"
    else:
        number = f" number {task.call + 1}" if task.call else ""
        what = f"{which} ended with status {status} before the test came to its kbench call{number}"
    lines = [*(said or ["nothing"]), "Run the test in one process to see it alone:"]
    lines.append(f"pytest {shlex.quote(task.test)} --kgate-processes 1")
    if limit_seconds is not None:
        lines.append("Raise --kgate-timeout if it is just slow.")
    return ProcessFailed(f"{what}. It said:", "\n".join(lines))
