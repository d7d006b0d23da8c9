"""The main module of the process in which an isolated candidate runs: gets blocks of inputs, makes calls, and says so.

Nothing in this process is trusted, since the candidate may replace any of it. What counts is what the judging process
sees: whether the outputs in shared memory are right, and when.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.device.open import open_device
from pytest_kgate.integrity.isolation.candidate_name import TOLD_LISTS
from pytest_kgate.integrity.isolation.candidate_name import message_of
from pytest_kgate.integrity.isolation.captured.device_code import DEVICE_CODE
from pytest_kgate.integrity.isolation.process.channel import Channel
from pytest_kgate.integrity.isolation.process.confinement.confinement import confine
from pytest_kgate.integrity.isolation.process.judge.keeper import fork_under_keeper

if TYPE_CHECKING:
    from pytest_kgate.device.arm import Arm
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.integrity.isolation.captured.loaded_code import LoadedCode
    from pytest_kgate.integrity.isolation.captured.scratch import Scratch
    from pytest_kgate.integrity.isolation.process.confinement.confinement import Confinement


class Worker:
    """Answers the judging process's messages, one after the other."""

    def __init__(self, channel: Channel, confined: Confinement, folder: Path) -> None:
        self._channel = channel
        self._confined = confined
        self._folder = folder
        self._candidate: Callable[..., Any]
        self._device: Device
        self._arm: Arm
        self._row: Row
        self._relaunch_address: int | None = None
        self._loaded: LoadedCode | None = None
        self._scratch: Scratch

    def serve(self) -> None:
        """Answer messages until the judging process closes the channel."""
        from pytest_kgate.errors import KgateError

        for message, fd in self._channel.messages():
            answer: dict[str, Any] = {}
            try:
                answer = self._do(message, fd) or {}
            except KgateError as error:
                answer = {"what": error.what, "todo": error.todo}
            except Exception as error:
                answer = _explained(error)
            lists = ("launches", *TOLD_LISTS)
            texts = {name: str(text)[:8000] for name, text in answer.items() if name not in lists}
            self._channel.send({**answer, **texts})
            if "what" not in answer and message["do"] in ("run", "prepare", "capture"):
                self._row.over()

    def _do(self, message: Mapping[str, Any], fd: int | None) -> dict[str, Any] | None:
        if message["do"] == "begin":
            return self._begin(message)
        if message["do"] == "launches":
            return {"launches": self._row.recorded[message["call"]]}
        if message["do"] == "load":
            self._load(message)
            return None
        assert fd is not None
        if message["do"] == "capture":
            return self._capture(message, fd)
        if message["do"] == "prepare":
            self._row = Row(self._device, self._arm, message["layout"])
            refused = self._row.prepare(fd, graph=message["graph"]) or {}
            return {**message_of(self._candidate, self._arm), **refused}
        self._row.run(fd)
        return None

    def _begin(self, message: Mapping[str, Any]) -> dict[str, str]:
        """Open the device. The answer can be trusted, since no code of the candidate has run yet."""
        import torch

        torch.set_num_threads(message["threads"])
        if message["device"].startswith("cuda"):
            from pytest_kgate.integrity.isolation.captured.loaded_code import LoadedCode
            from pytest_kgate.integrity.isolation.shared_memory.address_range import RELAUNCH_ADDRESS
            from pytest_kgate.integrity.isolation.shared_memory.address_range import reserve_early

            if reserve_early(int(message["device"].partition(":")[2])):
                self._relaunch_address = RELAUNCH_ADDRESS
                self._loaded = LoadedCode()
        self._device = open_device("host" if message["device"] == "cpu" else message["device"])
        return {"pid": str(os.getpid()), **self._confined.to_message()}

    def _load(self, message: Mapping[str, Any]) -> None:
        from pytest_kgate.device.arm import bind
        from pytest_kgate.integrity.isolation.candidate_name import load_named

        sys.path[:] = message["path"]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # for processes that compilers start
        os.chdir(message["folder"])
        self._candidate = load_named(message["candidate"])
        self._arm = bind("candidate", self._candidate, message["params"], message["mutates"])

    def _capture(self, message: Mapping[str, Any], fd: int) -> dict[str, str] | None:
        """Note what each call of a row launches, and leave the code for it in the own folder; or say why not."""
        import torch

        from pytest_kgate.device.cuda.context import CudaContext

        assert isinstance(self._device, CudaContext), "only a GPU is asked for launches"
        if self._relaunch_address is None or self._loaded is None or not self._loaded.watches:
            return {"refused": "memory at the addresses of the timer's process, or NVIDIA's CUPTI, can't be had"}
        if not hasattr(torch.cuda, "MemPool"):
            return {"refused": "this PyTorch has no pools of given memory: it takes 2.8"}
        from pytest_kgate.integrity.isolation.captured.scratch import Scratch

        self._scratch = Scratch(self._device.index)
        self._row = Row(self._device, self._arm, message["layout"], at=self._relaunch_address)
        refused = self._row.record(fd, self._scratch.pool.id)
        if refused is None:
            names = [launch["name"] for call in self._row.recorded for launch in call]
            self._loaded.save(names, self._folder / DEVICE_CODE)
        self._loaded.end()
        return refused


class Row:
    """A row of calls of the candidate, each on its own slot of a shared block."""

    def __init__(self, device: Device, arm: Arm, layout: Mapping[str, Any], at: int | None = None) -> None:
        """`at`: the address of the slots on a GPU; None for one of the driver's choice."""
        from pytest_kgate.device.answer import as_answer
        from pytest_kgate.device.arm import InPlace
        from pytest_kgate.integrity.isolation.shared_memory.host import make_window
        from pytest_kgate.integrity.isolation.shared_memory.layout import Layout
        from pytest_kgate.problems.trees.tree import fill

        self._as_answer, self._fill, self._in_place = as_answer, fill, InPlace
        self._device = device
        self._arm = arm
        self._layout = Layout.from_dict(layout)
        with device.running("making room"):
            self._window = make_window(device, self._layout.nbytes, at)
        self._slots: list[tuple[tuple[Any, ...], Any]] = []
        self._enqueue: Callable[[], Any] = self._one_by_one
        self.recorded: list[list[dict[str, Any]]] = []
        """What each call launches, once it was recorded."""

    def prepare(self, fd: int, *, graph: bool) -> dict[str, str] | None:
        """Make the calls once, as a warm-up; with `graph`, capture them, or return why they can't be captured."""
        with self._device.running("preparing the candidate"):
            self._show(fd)
            self._slots = [self._layout.views(self._window.bytes, call) for call in range(self._layout.calls)]
            self._one_by_one()
            self._device.synchronize()
            return self._capture() if graph else None

    def record(self, fd: int, pool: Any) -> dict[str, str] | None:
        """Make the calls once, then note what each launches; or return why that can't be had."""
        from pytest_kgate.device.cuda.context import CudaContext
        from pytest_kgate.integrity.isolation.captured.capture import recorded
        from pytest_kgate.integrity.isolation.captured.launches import NotRelaunchable

        assert isinstance(self._device, CudaContext), "only a GPU is asked for launches"
        self.prepare(fd, graph=False)
        try:
            with self._device.running("capturing the candidate"):
                self.recorded = recorded(self._device, self._call, self._layout.calls, pool)
        except NotRelaunchable as clause:
            return {"refused": str(clause)}
        return None

    def run(self, fd: int) -> None:
        """Make the calls on the block of this file descriptor, and wait until the device has ended them."""
        from pytest_kgate.device.host import no_garbage_collection

        with self._device.running("running the candidate"), no_garbage_collection():
            self._show(fd)
            self._enqueue()
            self._device.synchronize()

    def over(self) -> None:
        """Unmap the block; called after the answer was sent."""
        self._window.hide()

    def _show(self, fd: int) -> None:
        self._window.show(fd)
        os.close(fd)

    def _one_by_one(self) -> None:
        for turn in range(len(self._slots)):
            self._call(turn)

    def _call(self, turn: int) -> None:
        inputs, answer = self._slots[turn]
        output = self._returned(answer)
        result = self._arm.call(inputs, output if self._arm.takes_output else None)
        if self._returned(result) is not output:
            self._fill(output, self._returned(self._as_answer(result, answer, inputs)))

    def _returned(self, answer: Any) -> Any:
        """What a call returned, beside the inputs that it has changed."""
        return answer.returned if isinstance(answer, self._in_place) else answer

    def _capture(self) -> dict[str, str] | None:
        from pytest_kgate.device.cuda.context import CudaContext
        from pytest_kgate.device.cuda.timers.capture import Captures

        assert isinstance(self._device, CudaContext), "only a GPU is asked for graphs"
        self._captures = Captures(self._device)
        refusal = self._captures.refusal(lambda turn: self._call(turn % len(self._slots)))
        if refusal is not None:
            return {"refused": refusal}
        graph, _ = self._captures.capture(self._call, len(self._slots))
        self._enqueue = graph.replay
        return None


def _explained(error: Exception) -> dict[str, str]:
    """The answer for an exception that the candidate raised: what, and where."""
    from pytest_kgate.device.arm import CALL_CONVENTION
    from pytest_kgate.device.arm import blamed
    from pytest_kgate.device.arm import own_frames

    found = blamed("The candidate", CALL_CONVENTION, error)
    return {"what": found.what, "todo": f"{found.todo}\n{own_frames(error)}"}


def main(channel: str, parent_pipe: str, folder: str, device: str) -> None:
    """Run the process that `CandidateProcess` starts; arguments are file descriptors, the own folder and the device."""
    own = Path(folder)
    fork_under_keeper(int(parent_pipe), int(channel), own)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # where memory ends, this process does, not the judging one
    # First of all: what confines a thread would not hold for others that exist already.
    confined = confine(own, cuda=device != "cpu")
    Worker(Channel.of(int(channel)), confined, own).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
