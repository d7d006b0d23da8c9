"""The main module of the clean process, which runs nothing of any candidate: it compares answers, as told by messages.

Its messages come from the judging process, where candidates run. They are data: names of modules to import, which must
not be the candidate's, seeds, settings and the bytes of answers.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.integrity.isolation.process.channel import Channel
from pytest_kgate.integrity.isolation.process.judge.guard import hide_memory
from pytest_kgate.system.child_process import end_with_parent

if TYPE_CHECKING:
    from pytest_kgate.bench.processes.clean.case import Case
    from pytest_kgate.device.protocol import Device


class Worker:
    """Answers the judging process's messages, one after the other."""

    def __init__(self, channel: Channel) -> None:
        # Here and below, since PyTorch takes seconds to import, and the parent may end meanwhile.
        from pytest_kgate.bench.processes.clean.problem.rebuild import Gatekeeper

        self._channel = channel
        self._gatekeeper = Gatekeeper()
        self._device: Device
        self._case: Case | None = None
        self._answers: list[dict[str, Any]] = []

    def serve(self) -> None:
        """Answer messages until the judging process closes the channel."""
        from pytest_kgate.bench.processes.clean.problem.recipe import NeedsCandidate
        from pytest_kgate.bench.processes.clean.problem.recipe import NotRebuilt
        from pytest_kgate.errors import KgateError
        from pytest_kgate.problems.trees.foreign import str_of

        for message, fd in self._channel.messages():
            try:
                answer = self._do(message, fd) or {}
            except NotRebuilt as clause:
                answer = {"not_done": str(clause), "needs_candidate": isinstance(clause, NeedsCandidate)}
            except KgateError as error:
                answer = {"not_done": f"the clean process said: {_line(error.what)}"}
            except Exception as error:
                answer = {"not_done": f"the clean process raised {type(error).__name__}: {_line(str_of(error))}"}
            self._channel.send(answer)

    def _do(self, message: Mapping[str, Any], fd: int | None) -> dict[str, Any] | None:
        if message["do"] == "begin":
            return self._begin(message)
        if message["do"] == "over":
            self._over()
            return None
        if message["do"] == "race":
            assert self._case is not None
            self._case.begin_race(message["timer"], message["cache"])
            return None
        if message["do"] == "round":
            return self._time(message)
        assert fd is not None
        if message["do"] == "problem":
            self._rebuild(fd)
            return None
        return self._compare(self._answers[message["answer"]], fd)

    def _begin(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Open the device; from now on, modules are found where the judging process finds them."""
        from pytest_kgate.device.open import open_device

        if not message["imports_candidates"]:
            sys.meta_path.insert(0, self._gatekeeper)
        self._device = open_device(message["device"], timeout_seconds=message["timeout"])
        hide_memory()  # candidates run as the same user; not earlier, since CUDA's driver looks into /proc as it starts
        sys.path[:] = message["path"]
        os.chdir(message["folder"])
        return {"uuid": self._device.environment().get("gpu", {}).get("uuid")}

    def _rebuild(self, fd: int) -> None:
        from pytest_kgate.bench.processes.clean import settings
        from pytest_kgate.bench.processes.clean.answers import read_message
        from pytest_kgate.bench.processes.clean.case import Case

        message = read_message(fd)
        self._gatekeeper.keep_out(message["candidate_files"])
        self._case = Case(self._device, message["recipe"], message["gate"])
        settings.apply(message["settings"])  # which the import of a user's module may have changed
        self._answers = message["answers"]

    def _compare(self, facts: dict[str, Any], fd: int) -> dict[str, str | None]:
        from pytest_kgate.bench.processes.clean.answers import read_tensors

        assert self._case is not None
        tensors = read_tensors(fd, facts["tensors"], self._device.torch_device)
        if facts["whose"] == "reference":
            self._case.demand_same_reference(facts, tensors)
            return {}
        return {"wrong": self._case.finding(facts, tensors)}

    def _time(self, message: Mapping[str, Any]) -> dict[str, float | None]:
        """Time one round, and answer when all is quiet, so that the judging process has the machine for itself."""
        from pytest_kgate.bench.processes.clean.timing import QUIET_SECONDS
        from pytest_kgate.device.protocol import RoundSeeds
        from pytest_kgate.system.cpu_load import wait_until_quiet

        assert self._case is not None
        latency, clock = self._case.time(RoundSeeds(message["values"], message["layout"]), message["order"])
        self._free()
        wait_until_quiet(QUIET_SECONDS)
        return {"seconds": latency, "clock": clock}

    def _over(self) -> None:
        """Let go of a gate's problem, and of the memory that its answers took."""
        case, self._case, self._answers = self._case, None, []
        if case is not None:
            case.close()
            del case
        self._free()

    def _free(self) -> None:
        """Give the GPU's memory back, which the judging process may need."""
        import torch

        if self._device.kind == "cuda":
            self._device.synchronize()
            torch.cuda.empty_cache()


def _line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing"])[0].rstrip(".")[:500]


def main(channel: str, parent_pipe: str) -> None:
    """Run the process that `CleanProcess` starts; the arguments are file descriptors."""
    threading.Thread(target=end_with_parent, args=(int(parent_pipe),), daemon=True).start()
    Worker(Channel.of(int(channel))).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
