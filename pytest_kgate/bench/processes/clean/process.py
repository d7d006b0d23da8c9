"""The clean process as the judging process sees it: it is started once a session, sent messages, and ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from typing import TYPE_CHECKING
from typing import Any

import pytest_kgate
from pytest_kgate.bench.processes.clean.problem.recipe import NotRebuilt
from pytest_kgate.integrity.isolation.process.channel import Channel
from pytest_kgate.system.child_process import last_lines
from pytest_kgate.system.child_process import parent_pipe
from pytest_kgate.system.child_process import signal_all

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_kgate.device.protocol import Device
    from pytest_kgate.device.protocol import RoundSeeds

_WORKER = ("-m", "pytest_kgate.bench.processes.clean.worker")

_START_SECONDS = 60.0
"""How long it may take to start and to import PyTorch, besides what one request may take."""

_GRACE_SECONDS = 2.0
"""How long a process that has closed its channel may take to end, so that its exit status is known."""

_OF_THE_START = ("LD_", "PYTHON")
"""Variables of these kinds are taken as this process got them: they can make a new process run code of anyone."""


class CleanProcessLost(Exception):
    """How the clean process ended or hung, as one clause."""


class CleanProcess:
    """A process with the package in it and nothing of any candidate; it ends with this one, however that ends."""

    def __init__(self, device: Device, timeout_seconds: float) -> None:
        """Start it. Raises `CleanProcessLost` where it does not answer, `NotRebuilt` where it has not the device."""
        self._timeout_seconds = timeout_seconds
        self._stack = contextlib.ExitStack()
        self._closed = False
        output = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  (closed by the stack)
        self._output: IO[str] = self._stack.enter_context(output)
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="kgate-clean-"))
        pipe = self._stack.enter_context(parent_pipe())
        self._channel, theirs = Channel.pair()
        self._stack.callback(self._channel.close)
        self._child = subprocess.Popen(
            [sys.executable, *_WORKER, str(theirs.fd), str(pipe)],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs.fd, pipe),
            start_new_session=True,
        )
        theirs.close()
        self._stack.callback(self._end)
        self.pid = self._child.pid
        device.admit(self.pid)
        begin = {
            "do": "begin",
            "device": "host" if device.kind == "host" else device.torch_device,
            "timeout": timeout_seconds,
            "path": sys.path,
            "folder": os.getcwd(),
        }
        try:
            begun = self.ask(begin, more_seconds=_START_SECONDS)
            if begun["uuid"] != device.environment().get("gpu", {}).get("uuid"):
                raise NotRebuilt("a new process gets another GPU")
        except BaseException:
            self.close()
            raise

    def ask(self, message: dict[str, Any], fd: int | None = None, more_seconds: float = 0.0) -> dict[str, Any]:
        """Send a message and wait for its answer.

        Raises `NotRebuilt` with what the process can't do. Whatever else ends the wait ends the process as well, since
        its next answer would be taken for another one's; `CleanProcessLost` says how it was lost.
        """
        limit = self._timeout_seconds + more_seconds
        try:
            self._channel.send(message, fd)
            if not select.select([self._channel.fd], [], [], limit)[0]:
                raise CleanProcessLost(f"it did not answer within {limit:g} s")
            answer = self._channel.answer()
        except (EOFError, OSError, ValueError):
            lost = CleanProcessLost(self._how_it_ended())
            self.close()
            raise lost from None
        except BaseException:  # Ctrl-C among them
            self.close()
            raise
        if "not_done" in answer:
            raise NotRebuilt(str(answer["not_done"]))
        return answer

    def begin_race(self, timer: str, cache: str) -> None:
        """Have it make a stopwatch for the reference of the problem, against itself."""
        self.ask({"do": "race", "timer": timer, "cache": cache})

    def time(self, seeds: RoundSeeds, order: NDArray[np.intp]) -> tuple[float, float | None]:
        """Have it time one round; returns the median seconds of one call, and the GPU's clock if that was read."""
        asked = {"do": "round", "values": seeds.values, "layout": seeds.layout, "order": order.tolist()}
        answer = self.ask(asked)
        return float(answer["seconds"]), answer["clock"]

    def over(self) -> None:
        """Have it free what it holds for the gate that was looked at last, unless it was lost."""
        with contextlib.suppress(NotRebuilt):
            if not self._closed:
                self.ask({"do": "over"})

    def close(self) -> None:
        """Kill it."""
        self._closed = True
        self._stack.close()

    def _how_it_ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._child.wait(_GRACE_SECONDS)
            said = "; ".join(last_lines(self._output)[-1:])
            told = f", and said last: {said}" if said else ""
            if status < 0:
                return f"signal {signal.Signals(-status).name} ended it{told}"
            return f"it ended with status {status}{told}"
        return "it closed its channel"

    def _end(self) -> None:
        signal_all(self._child, signal.SIGKILL)
        self._child.kill()
        self._child.wait()


def _environment() -> dict[str, str]:
    start = dict(one.partition("=")[::2] for one in _initial_environment())
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_START)}
    kept |= {name: value for name, value in start.items() if name.startswith(_OF_THE_START)}
    package = str(Path(pytest_kgate.__file__).parents[1])
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, (kept.get("PYTHONPATH"), package)))}


def _initial_environment() -> Sequence[str]:
    """As the system gave it to this process, whatever was set since."""
    with contextlib.suppress(OSError):
        text = Path("/proc/self/environ").read_bytes().decode(sys.getfilesystemencoding(), "surrogateescape")
        return [one for one in text.split("\0") if "=" in one]
    return [f"{name}={value}" for name, value in os.environ.items()]
