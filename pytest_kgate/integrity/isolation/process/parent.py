"""The candidate's process as the judging process sees it: it is started, sent messages, and ended."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import torch

from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import UsageError
from pytest_kgate.integrity.isolation.candidate_name import Told
from pytest_kgate.integrity.isolation.captured.launches import KernelLaunch
from pytest_kgate.integrity.isolation.captured.launches import NotRelaunchable
from pytest_kgate.integrity.isolation.captured.launches import launches_of
from pytest_kgate.integrity.isolation.process.child import start_child
from pytest_kgate.integrity.isolation.process.confinement.confinement import Confinement
from pytest_kgate.integrity.isolation.process.judge.guard import guard_process
from pytest_kgate.integrity.isolation.process.judge.settings import JudgeSettings
from pytest_kgate.integrity.isolation.process.judge.shared_segments import SharedSegments
from pytest_kgate.integrity.isolation.process.own_folder import remove_folder
from pytest_kgate.report.format import printable
from pytest_kgate.report.record.values import plain
from pytest_kgate.system.child_process import environment_of_start
from pytest_kgate.system.child_process import last_lines
from pytest_kgate.system.child_process import signal_name
from pytest_kgate.system.folders.shared_folder import VARIABLE

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.integrity.isolation.candidate_name import NamedCandidate
    from pytest_kgate.integrity.isolation.shared_memory.host import Block
    from pytest_kgate.integrity.isolation.shared_memory.layout import Layout

_WORKER = ("-m", "pytest_kgate.integrity.isolation.process.worker")

_BINDS_THREADS = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")


class CandidateProcess:
    """A process that runs one candidate. Whatever goes wrong in it is raised here as `CandidateError`."""

    confined: Confinement
    """What keeps the process from the user's files and from other processes."""
    left_changed: list[str]
    """What was found changed in this process once the candidate's had ended, one clause each."""
    pid: int
    """Of the process that makes the calls."""
    told: Told
    """What it says of the candidate; known once a row was prepared."""

    def __init__(
        self,
        candidate: NamedCandidate,
        params: dict[str, Any],
        device: Device,
        folder: Path,
        mutates: Sequence[int] = (),
    ) -> None:
        self.closed = False
        self._stack = contextlib.ExitStack()
        own = tempfile.mkdtemp(prefix="kgate-isolated-")
        self._stack.callback(remove_folder, Path(own))
        self.confined = Confinement(landlock=0, seccomp=False)
        self.left_changed = []
        self.told = Told()
        self._params = params
        self._stack.callback(self._compare, JudgeSettings(), SharedSegments())
        self.folder = Path(own)
        """The only one that the process may write to."""
        self._stack.enter_context(guard_process())
        # In its own folder, and without those of the tests on its path: Python looks there for all that it imports, and
        # the candidate's file lies there, under a name that may be any module's.
        child = start_child((sys.executable, *_WORKER), (own, device.torch_device), _environment(own), self.folder)
        self._child = self._stack.enter_context(child)
        try:
            begin = {"do": "begin", "device": device.torch_device, "threads": torch.get_num_threads()}
            begun = self._ask(begin)
            self.confined = Confinement.from_message(begun)
            self.pid = int(begun["pid"])
            device.admit(self.pid)
            named = candidate.to_dict()
            known = {"params": params, "mutates": list(mutates), "path": sys.path, "folder": str(folder)}
            self._ask({"do": "load", "candidate": named, **known})
        except BaseException:
            self.close()
            raise

    def prepare(self, layout: Layout, block: Block, *, graph: bool = False) -> str | None:
        """Make the calls of a row once, as a warm-up, on the values of this block.

        With `graph`, they are captured in a CUDA graph for later runs; returns why they can't be, or None.
        """
        answer = self._ask({"do": "prepare", "layout": layout.to_dict(), "graph": graph}, block.fd)
        self.told, refused = Told.of(answer, self._params), answer.get("refused")
        return None if refused is None else printable(refused)

    def capture(self, layout: Layout, block: Block) -> list[tuple[KernelLaunch, ...]]:
        """What each call of the row launches on this block; raises `NotRelaunchable` where that can't be said."""
        refused = self._ask({"do": "capture", "layout": layout.to_dict()}, block.fd).get("refused")
        if refused is not None:
            raise NotRelaunchable(printable(refused))
        return [launches_of(self._ask({"do": "launches", "call": at}).get("launches")) for at in range(layout.calls)]

    def run(self, block: Block) -> None:
        """Make the calls of the row prepared last, on the values of this block; return when they have ended."""
        self._ask({"do": "run"}, block.fd)

    def close(self) -> None:
        """Kill the process and all that it started."""
        self.closed = True
        self._stack.close()

    def _ask(self, message: dict[str, Any], fd: int | None = None) -> dict[str, Any]:
        try:
            self._child.channel.send(message, fd)
            answer = self._child.channel.answer()
        except ValueError as error:
            raise CandidateError(
                f"The candidate's process sent something that is no message ({error}).",
                "Look at what the candidate does with its file descriptors.",
            ) from None
        except (EOFError, OSError):
            raise self._gone() from None
        if "what" in answer:
            raise CandidateError(printable(answer["what"]), printable(answer.get("todo", "")))
        return answer

    def _gone(self) -> CandidateError:
        """The error that says how the process ended, and what it wrote last."""
        status = self._child.exit_status()
        if status is None:
            what = "The candidate's process hung up"
        elif status < 0:
            what = f"The candidate's process crashed: signal {signal_name(-status)} ended it"
        else:
            what = f"The candidate's process ended with status {status} before it had answered"
        said = printable("\n".join(last_lines(self._child.output)))
        if not said:
            return CandidateError(f"{what}.", "It said nothing: call it in a Python of your own to see where it ends.")
        return CandidateError(f"{what}.", f"It said:\n{said}")

    def _compare(self, settings: JudgeSettings, segments: SharedSegments) -> None:
        """Once all of its processes have ended: put back what they have changed here, remove what they have left."""
        filtered = self.confined.seccomp
        self.left_changed += settings.restore(new_threads=not filtered)
        if not filtered:
            self.left_changed += segments.remove_new()


_CACHES = {
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "CUDA_CACHE_PATH": "cuda",
    "CUPY_CACHE_DIR": "cupy",
    "NUMBA_CACHE_DIR": "numba",
    "TORCH_EXTENSIONS_DIR": "torch_extensions",
}
"""Folders of what compilers keep. Inductor sets its variable in the judge's process once a reference is compiled."""


def _environment(own: str) -> dict[str, str]:
    """Environment variables by which temporary files, locks and compilers' caches go to the process's own folder.

    Those that bind OpenMP's threads to cores are left out: it would do so from another thread, which the filter of
    system calls refuses, and end the process.
    """
    return {
        **{name: value for name, value in os.environ.items() if name not in _BINDS_THREADS},
        "PYTHONPATH": environment_of_start()["PYTHONPATH"],
        "TMPDIR": own,
        VARIABLE: own,
        **{name: os.path.join(own, folder) for name, folder in _CACHES.items()},
    }


def jsonable(params: dict[str, Any]) -> dict[str, Any]:
    """The problem's params, unchanged; raises `UsageError` where JSON can't hold them."""
    if plain(params) != params:
        raise UsageError(
            "The problem's params can't be sent to the process of an isolated candidate.",
            "Use numbers, texts, lists and dicts with texts for keys.",
        )
    return params
