"""Sessions of pytest in processes that have PyTorch already: forked from one that imported it, in a tenth of the time.

As a program it takes a line of JSON for each session, forks, and answers with the child's id, then with its status.
"""

from __future__ import annotations

import gc
import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from typing import IO
from typing import Any

PYTEST = ["-m", "pytest"]


class WarmSessions:
    """The process from which sessions are forked; `start` takes the place of `evaluation.verb.session.start`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def start(self, command: list[str], environment: Mapping[str, str], output: IO[str]) -> Any:
        """Fork a session; what is returned can do of `Popen` what is asked of it."""
        assert command[:3] == [sys.executable, *PYTEST]
        asked = {"arguments": command[3:], "environment": dict(environment), "folder": os.getcwd()}
        asked["output"] = output.name
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        return _Session(self._process)

    def close(self) -> None:
        """End it."""
        self._process.communicate()


class _Session:
    def __init__(self, parent: subprocess.Popen[str]) -> None:
        self._answers = parent.stdout
        self._status: int | None = None
        assert self._answers is not None
        self.pid = int(self._answers.readline())

    def wait(self, timeout: float | None = None) -> int:
        assert self._answers is not None
        if self._status is None:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("pytest", timeout or 0)
            self._status = int(self._answers.readline())
        return self._status


def _serve() -> None:
    import pytest

    from pytest_kgate.validation.cheats.session_modules import import_all

    import_all()
    gc.collect()
    gc.freeze()  # pytest ends with ten searches for garbage
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            os.setsid()
            os.chdir(asked["folder"])
            os.environ.clear()
            os.environ.update(asked["environment"])
            with open(asked["output"], "w") as output, open(os.devnull) as nothing:
                os.dup2(nothing.fileno(), 0)
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            sys.argv = ["pytest", *asked["arguments"]]
            status = int(pytest.main(asked["arguments"]))
            sys.stdout.flush()
            os._exit(status)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve()
