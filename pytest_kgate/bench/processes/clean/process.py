"""The clean process as the judging process sees it: it is started once a session, sent messages, and ended."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.bench.processes.clean.problem.recipe import NeedsCandidate
from pytest_kgate.bench.processes.clean.problem.recipe import NotRebuilt
from pytest_kgate.bench.processes.variable import environment_of_session
from pytest_kgate.integrity.isolation.process.child import start_child
from pytest_kgate.system import procfs
from pytest_kgate.system.child_process import environment_of_start
from pytest_kgate.system.child_process import last_lines
from pytest_kgate.system.child_process import signal_name
from pytest_kgate.system.folders.scratch import scratch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_kgate.device.protocol import Device
    from pytest_kgate.device.protocol import RoundSeeds

_WORKER = ("-m", "pytest_kgate.bench.processes.clean.worker")

_START_SECONDS = 60.0
"""How long it may take to start and to import PyTorch, besides what one request may take."""


class CleanProcessLost(Exception):
    """How the clean process ended or hung, as one clause."""

    def __init__(self, how: str, *, by_others: bool = False) -> None:
        """`by_others`: whether something else has ended or stopped it, or closed the way to it: it never does that."""
        super().__init__(how)
        self.by_others = by_others


class CleanProcess:
    """A process with the package in it and nothing of any candidate; it ends with this one, however that ends."""

    def __init__(self, device: Device, timeout_seconds: float, *, imports_candidates: bool = False) -> None:
        """Start it. Raises `CleanProcessLost` where it does not answer, `NotRebuilt` where it has not the device.

        `imports_candidates`: whether it may import the modules of candidates, none of which it ever calls.
        """
        self.imports_candidates = imports_candidates
        self._timeout_seconds = timeout_seconds
        self._stack = contextlib.ExitStack()
        self._closed = False
        folder = self._stack.enter_context(scratch("clean"))
        child = start_child(
            (sys.executable, *_WORKER), (), environment_of_start(environment_of_session()), Path(folder)
        )
        self._memory_kills = procfs.memory_kills()
        self._child = self._stack.enter_context(child)
        self.pid = self._child.process.pid
        device.admit(self.pid)
        begin = {
            "do": "begin",
            "device": "host" if device.kind == "host" else device.torch_device,
            "timeout": timeout_seconds,
            "imports_candidates": imports_candidates,
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
            self._child.channel.send(message, fd)
            if not select.select([self._child.channel.fd], [], [], limit)[0]:
                raise CleanProcessLost(f"it did not answer within {limit:g} s", by_others=self._is_stopped())
            answer = self._child.channel.answer()
        except (EOFError, OSError, ValueError):
            lost = self._how_it_ended()
            self.close()
            raise lost from None
        except BaseException:  # Ctrl-C among them
            self.close()
            raise
        if "not_done" in answer:
            raise (NeedsCandidate if answer.get("needs_candidate") else NotRebuilt)(str(answer["not_done"]))
        return answer

    @property
    def difference(self) -> str:
        """What it leaves out that the tests' process does, as a clause."""
        if self.imports_candidates:
            return "which imports the candidate's module and never calls it"
        return "which runs nothing of the candidate"

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
        """Kill the process."""
        self._closed = True
        self._stack.close()

    def _is_stopped(self) -> bool:
        with contextlib.suppress(OSError):
            return procfs.stat(self.pid)[1][0] in ("T", "t")
        return False

    def _how_it_ended(self) -> CleanProcessLost:
        status = self._child.exit_status()
        if status is None:
            return CleanProcessLost("its channel was closed", by_others=True)
        said = "; ".join(last_lines(self._child.output)[-1:])
        told = f", and said last: {said}" if said else ""
        if status >= 0:
            return CleanProcessLost(f"it ended with status {status}{told}")
        if procfs.memory_kills() != self._memory_kills:
            return CleanProcessLost(f"signal {signal_name(-status)} ended it, as memory was short{told}")
        return CleanProcessLost(f"signal {signal_name(-status)} ended it{told}", by_others=True)
