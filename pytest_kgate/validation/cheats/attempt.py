"""Run one cheat against the gate, in a pytest session in a process of its own, so that what it patches stays there.

The process is a fork of this one, which has PyTorch loaded: that saves seconds for each cheat. Where checks run on a
GPU it is a new process, because in a fork the profiler sees no kernels.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_kgate.bench.request import UNVERIFIED
from pytest_kgate.validation.cheats.catalogue import FOLDER
from pytest_kgate.validation.cheats.catalogue import Cheat

_PATIENCE_SECONDS = 180.0

_BUDGETS = {"host": 8, "cuda": 20}
"""Seconds of a race. On the host most are decided in one; one that a busy machine leaves undecided would take all."""

_SAID = re.compile("was changed|yet it was reported|would have passed for success: status")
"""In a line of a session's output that says what was found beside the records."""

_IMPORTS = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
"""A new process imports what this one does."""

SLOWLY = """
def slowly(reference):
    def four_times(*inputs, **params):
        for _ in range(3):
            reference(*inputs, **params)
        return reference(*inputs, **params)
    return four_times
"""
"""In a test's own source: a reference whose ratio to an honest candidate is a quarter."""

_TEST = """
import dataclasses
import importlib.util

import pytest
from pytest_kgate import Shape

DEVICE, SOURCE, SLOW, ISOLATED = {device!r}, {source!r}, {slow!r}, {isolated!r}

if importlib.util.find_spec("cheat") and not ISOLATED:
    import cheat
else:
    cheat = None

HOST = DEVICE == "host"

{slowly}

@pytest.mark.perf
@pytest.mark.allclose(1e-4 if HOST else 4e-3)
@pytest.mark.speedup(0.8)
def test_cheat(kbench, sdpa_oracle, kernels):
    shape = {shape} if HOST else Shape(1, 8, 512, 64)
    problem = sdpa_oracle(shape, dtype="float32" if HOST else "float16", backend="flash")
    if not SLOW:
        problem = dataclasses.replace(problem, reference=slowly(problem.reference["flash"]))
    if SOURCE.endswith(".py"):
        candidate = cheat.candidate if cheat else "cheat.py:candidate"
    else:
        candidate = kernels(SOURCE)
    kbench(candidate, problem, own=getattr(cheat, "OWN", None))


def test_after():
    getattr(cheat, "after", lambda: None)()
"""


@dataclass(frozen=True)
class Attempt:
    """The outcome of one cheat's session: whether it was caught, by which checks, and what the record says."""

    cheat: str
    device: str
    """`host` or `cuda`, with ` isolated` behind where the candidate had a process of its own."""
    caught: bool
    """Whether the session failed."""
    verdict: str | None
    """Of the record; None where there is none."""
    checks: tuple[str, ...]
    """The integrity checks that found something."""
    reason: str
    """Of the record, or what the session said."""
    status: int
    """The exit status; negative for a signal."""
    seconds: float
    unchecked: str | None = None
    """The verdict without the checks, where they stopped it: the record's, or how the session ended."""

    def to_dict(self) -> dict[str, Any]:
        """For the file, in built-in types."""
        return {**asdict(self), "checks": list(self.checks)}


def run(cheat: Cheat, device: str, *, isolate: bool = False) -> Attempt:
    """Run the cheat against the gate, and once more without the checks where it is they that stopped it.

    `device` is `host` or `cuda`. Needs `fork`. With `isolate`, the cheat has a process of its own, and no second
    attempt, unless it says `unchecked="own"`: what is verified then is the only evidence that any work was done.
    """
    attempt = _once(cheat, device, checked=True, isolate=isolate)
    if cheat.unchecked == "where caught" and (attempt.verdict != "INVALID" or isolate):
        return attempt
    if cheat.unchecked == "test" and isolate:
        return attempt  # which is run so where it has no process of its own
    unchecked = _once(cheat, device, checked=False, isolate=cheat.unchecked == "own")
    return replace(attempt, unchecked=unchecked.verdict or f"exit status {unchecked.status}")


def _once(cheat: Cheat, device: str, *, checked: bool, isolate: bool) -> Attempt:
    folder = Path(tempfile.mkdtemp(prefix="kgate-cheat-"))
    try:
        start = time.monotonic()
        status = _in_child(folder, cheat, device, checked, isolate)
        return _read(folder, cheat, place(device, isolate), status, time.monotonic() - start)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def place(device: str, isolate: bool) -> str:
    """What an attempt's `device` says: isolated candidates have a column of their own."""
    return f"{device} isolated" if isolate else device


def _in_child(folder: Path, cheat: Cheat, device: str, checked: bool, isolate: bool) -> int:
    source = FOLDER / cheat.file
    if source.suffix == ".py":
        shutil.copy(source, folder / "cheat.py")
    else:
        for header in (source, *FOLDER.glob("*.h"), *FOLDER.glob("*.cuh")):
            shutil.copy(header, folder)
    slow = cheat.honest_is_slow or (isolate and cheat.works)
    shape = cheat.shapes[isolate]
    test = _TEST.format(device=device, source=cheat.file, slow=slow, isolated=isolate, slowly=SLOWLY, shape=shape)
    (folder / "test_cheat.py").write_text(test)
    (folder / "pytest.ini").write_text("[pytest]\n")
    start = _spawned if device == "cuda" and checked else _forked
    # What runs at a fork on behalf of libraries would swallow a KeyboardInterrupt that is raised in it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        child = start(folder, device, checked, isolate, before)
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    deadline = time.monotonic() + _PATIENCE_SECONDS
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
    except KeyboardInterrupt:
        _kill(child)
        raise
    _kill(child)
    return -signal.SIGKILL


def _kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _forked(folder: Path, device: str, checked: bool, isolate: bool, signals: Iterable[int] = ()) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        run_session(folder, device, checked, isolate)
    return child


def _spawned(folder: Path, device: str, checked: bool, isolate: bool, signals: Iterable[int] = ()) -> int:
    asked = f"Path({str(folder)!r}), {device!r}, {checked!r}, {isolate!r}"
    code = f"from {__name__} import Path, run_session; run_session({asked})"
    environment = {**os.environ, "PYTHONPATH": _IMPORTS}
    return os.posix_spawn(sys.executable, [sys.executable, "-c", code], environment, setsigmask=signals)


def run_session(folder: Path, device: str, checked: bool, isolate: bool) -> None:
    """In the child: a session as a user would start it, or one that only asks for a right answer; never returns."""
    status = 70
    try:
        out = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(folder)
        os.environ.pop("GITHUB_STEP_SUMMARY", None)  # a step of CI is told of the catalogue, not of each cheat
        import pytest
        import torch

        torch.set_num_threads(1)  # so that two arms on a busy machine still tell each other apart
        arguments = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--kgate-device={device}"]
        # What else the machine does is no cheat's doing, and must not be what catches one.
        arguments += ["--kgate-json=records.json", f"--kgate-budget={_BUDGETS[device]}", "--kgate-foreign-load=warn"]
        arguments.append("--kgate-clean=on")
        plugins: list[object] = []
        if isolate:
            arguments.append("--kgate-isolate")
        if not checked:
            arguments.append("--kgate-integrity=off")
            plugins.append(_TrustsTimedLaunches())
        status = int(pytest.main(arguments, plugins))
    finally:
        os._exit(status)


class _TrustsTimedLaunches:
    """A plugin that turns off the verification of timed launches in this session, which no option can do."""

    def pytest_configure(self, config: Any) -> None:
        config.pluginmanager.register(object(), UNVERIFIED)


def _read(folder: Path, cheat: Cheat, device: str, status: int, seconds: float) -> Attempt:
    output = (folder / "output.txt").read_text(errors="replace") if (folder / "output.txt").exists() else ""
    records = json.loads((folder / "records.json").read_text())["records"] if (folder / "records.json").exists() else []
    record = records[0] if records else {}
    found = tuple(one["check"] for one in (record.get("integrity") or {}).get("findings", ()))
    told = [line for line in output.splitlines() if _SAID.search(line) and "kgate" not in line[:6]]
    reason = record.get("reason") or ("" if status == 0 else "; ".join(output.splitlines()[-3:]))
    if record.get("verdict") != "PASS" and told:
        reason = f"{told[-1].strip()} (The verdict was {record.get('verdict')}: {reason})"
    return Attempt(
        cheat=cheat.name,
        device=device,
        caught=status != 0,
        verdict=record.get("verdict"),
        checks=tuple(dict.fromkeys(found)),
        reason=reason.replace(f"{folder}/", ""),
        status=status,
        seconds=seconds,
    )
