"""The work of a search's worker: start one child process, end it at its limit, and always have an answer.

Nothing of a candidate runs in the worker's own process, so that whatever a candidate does costs this one evaluation.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_kgate.search.running.child.order import FILES
from pytest_kgate.search.running.child.order import Answered
from pytest_kgate.search.running.child.order import Order
from pytest_kgate.system.child_process import ENDS_WITH
from pytest_kgate.system.child_process import last_lines
from pytest_kgate.system.child_process import parent_pipe
from pytest_kgate.system.child_process import run_limited
from pytest_kgate.system.child_process import signal_name
from pytest_kgate.system.folders.scratch import scratch

GRACE_SECONDS = 20.0
"""Time for the child to end what it has started, once its own limit is over or it was told to end."""

_MOST_WAITING_SECONDS = 3600.0
"""For a device that others keep; then the evaluation is given up."""

_BUSY = "BUSY"

Started = Callable[[subprocess.Popen[bytes]], None]
"""Is told of each child as soon as it runs, so that it can be ended from elsewhere."""


def work(order: Order, started: Started | None = None) -> Answered:
    """Carry out an order: never raises but for Ctrl-C, and leaves no process behind.

    Where another process keeps the device, it is tried again until that is free.
    """
    begin, waited = time.monotonic(), 0.0
    while True:
        start = time.monotonic()
        try:
            answered = _once(order, started)
        except OSError as error:
            answered = Answered(None, f"The evaluation could not be started: {error}.")
        took = time.monotonic() - start
        if answered.answer is None or answered.answer.get("verdict") != _BUSY or waited > _MOST_WAITING_SECONDS:
            waited += _waited(answered.answer)
            return Answered(answered.answer, answered.lost, time.monotonic() - begin, waited, answered.killed)
        waited += took


def _waited(answer: Mapping[str, Any] | None) -> float:
    """What the calls of an answer have waited for the device."""
    records = answer.get("records", ()) if answer else ()
    return float(sum(record.get("seconds", {}).get("lease", 0.0) for record in records))


def _once(order: Order, started: Started | None) -> Answered:
    with scratch("search") as name:
        folder = Path(name)
        for file, text in order.files:
            (folder / file).write_text(text, encoding="utf-8")
        result = folder / "answer.json"
        arguments = [one.replace(FILES, name) for one in order.arguments]
        command = [sys.executable, "-m", "pytest_kgate.cli", "evaluate", *arguments]
        command += [f"--time-limit={order.limit_seconds:g}", f"--json={result}"]
        with parent_pipe() as pipe, (folder / "output").open("w+", encoding="utf-8", errors="replace") as output:
            environment = {**os.environ, **dict(order.environment), ENDS_WITH: str(pipe)}
            latest = 2 * order.limit_seconds + GRACE_SECONDS  # it ends by itself; this is for one that does not
            status, killed = run_limited(
                command,
                folder=order.folder,
                environment=environment,
                pipe=pipe,
                output=output,
                ends=((latest, signal.SIGTERM), (latest + GRACE_SECONDS, signal.SIGKILL)),
                told=signal.SIGTERM,  # by which it ends what it has started
                grace_seconds=GRACE_SECONDS,
                started=started,
            )
            said = " ".join(last_lines(output))
        if not killed:  # else its answer says that it was told to end, which is none on the candidate
            with contextlib.suppress(OSError, ValueError):
                return Answered(json.loads(result.read_text(encoding="utf-8")))
        return Answered(None, _why(status, killed, said), killed=killed)


def _why(status: int, killed: bool, said: str) -> str:
    if killed:
        return "The evaluation did not end at its limit and was ended."
    what = f"was ended by {signal_name(-status)}" if status < 0 else f"ended with status {status}"
    return f"The evaluation {what}, without an answer.{f' It said last: {said}' if said else ''}"
