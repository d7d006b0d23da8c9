"""The timer's process as the judging process sees it: it is started, sent what to launch, asked for samples, ended."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import TimingError
from pytest_kgate.integrity.isolation.captured.launches import NotRelaunchable
from pytest_kgate.integrity.isolation.process.child import start_child
from pytest_kgate.integrity.isolation.process.judge.guard import guard_process
from pytest_kgate.system.child_process import environment_of_start
from pytest_kgate.system.child_process import last_lines
from pytest_kgate.system.folders.scratch import scratch
from pytest_kgate.system.folders.shared_folder import VARIABLE

if TYPE_CHECKING:
    from pytest_kgate.device.cuda.device import CudaDevice
    from pytest_kgate.integrity.isolation.captured.launches import KernelLaunch
    from pytest_kgate.integrity.isolation.relaunch.sampling.plan import RowPlan
    from pytest_kgate.integrity.isolation.shared_memory.host import Block

_TIMER = (sys.executable, "-m", "pytest_kgate.integrity.isolation.relaunch.timer")

_START_SECONDS = 60.0
"""How long the process may take to start and to load device code, besides what kernels may take."""


class Faulted(Exception):
    """What the driver said when a kernel of the candidate faulted in the timer's process."""


class TimerProcess:
    """A process that launches a candidate's kernels; its code is the plugin's, what runs on the GPU the candidate's."""

    def __init__(self, device: CudaDevice) -> None:
        self._seconds = device.timeout_seconds
        self._stack = contextlib.ExitStack()
        own = self._stack.enter_context(scratch("timer"))
        self._stack.enter_context(guard_process())
        environment = {
            **os.environ,
            "PYTHONPATH": environment_of_start()["PYTHONPATH"],
            "TMPDIR": own,
            VARIABLE: own,
            "CUDA_CACHE_PATH": os.path.join(own, "cuda"),
        }
        self._child = self._stack.enter_context(start_child(_TIMER, (own,), environment, Path(own)))
        device.admit(self._child.process.pid)

    def load(
        self,
        index: int,
        plan: RowPlan,
        block: Block,
        values: Block,
        calls: Sequence[Sequence[KernelLaunch]],
        images: Sequence[bytes],
    ) -> bool:
        """Hand over memory, launches and device code; returns whether kernels can reach that process's host memory.

        Raises `NotRelaunchable` where it can't launch them, and `Faulted`.
        """
        self._ask({"do": "block", "index": index, "plan": plan.to_dict()}, block.fd, _START_SECONDS)
        self._ask({"do": "values"}, values.fd)
        spelt = json.dumps([[launch.to_dict() for launch in call] for call in calls]).encode("ascii")
        with os.fdopen(os.memfd_create("kgate-launches"), "w+b") as file:
            file.write(spelt + b"".join(images))
            file.flush()
            file.seek(0)
            message = {"do": "load", "calls_bytes": len(spelt), "image_bytes": list(map(len, images))}
            return bool(self._ask(message, file.fileno(), _START_SECONDS)["reaches_host_memory"])

    def renew(self) -> None:
        """Make the graphs anew."""
        self._ask({"do": "renew"})

    def sample(self, key: tuple[int, int]) -> tuple[float, float] | None:
        """Seconds of the short and of the long row, on the values that this key decrypts.

        None where the GPU had to wait for the process, so that the times are none. Raises `Faulted`.
        """
        answer = self._ask({"do": "sample", "key": key})
        short, long = float(answer["short"]), float(answer["long"])
        if not (math.isfinite(short) and math.isfinite(long)):
            raise TimingError("The timer's process read no time.", "Report it with the record.")
        return (short, long) if answer["in_time"] else None

    def close(self) -> None:
        """Kill the process."""
        self._stack.close()

    def _ask(self, message: dict[str, Any], fd: int | None = None, more_seconds: float = 0.0) -> dict[str, Any]:
        try:
            self._child.channel.send(message, fd)
            if not select.select([self._child.channel.fd], [], [], self._seconds + more_seconds)[0]:
                self.close()
                raise CandidateError(
                    f"The candidate hung: a kernel did not end within {self._seconds:g} s in the timer's process.",
                    "Look for an endless loop that the values decide; raise --kgate-timeout if it is just slow.",
                )
            answer = self._child.channel.answer()
        except (EOFError, OSError, ValueError):
            said = "; ".join(last_lines(self._child.output))
            raise Faulted(f"the timer's process ended: {said or 'it said nothing'}") from None
        if "refused" in answer:
            raise NotRelaunchable(str(answer["refused"]))
        if "fault" in answer:
            raise Faulted(str(answer["fault"]))
        return answer
