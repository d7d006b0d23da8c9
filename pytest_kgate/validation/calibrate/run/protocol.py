"""Run a calibration: gates in fresh processes, one after the other, until every case has as many as were asked for."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO
from typing import Any

import numpy as np

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.validation.calibrate.cases import Case
from pytest_kgate.validation.calibrate.file import Calibrations
from pytest_kgate.validation.calibrate.file import counted

_GRACE_SECONDS = 10.0
"""Time for a child that was asked to end, before it is killed."""


@dataclass(frozen=True)
class Extent:
    """How many processes and gates are run; `PRESETS` has the usual ones."""

    processes: int
    gates: int
    """Gates a process, spread evenly over the cases of a kernel against itself (or over the comparisons)."""
    truth_gates: int
    """Gates a process, spread evenly over the cases of known ratio."""


PRESETS = {
    # By device kind: minutes at most, then the thousand gates that acceptance is stated for.
    "cuda": {"quick": Extent(4, 14, 15), "full": Extent(20, 50, 15)},
    "fake": {"quick": Extent(4, 14, 15), "full": Extent(20, 50, 15)},
    "host": {"quick": Extent(2, 4, 0), "full": Extent(10, 20, 0)},  # a host gate takes 5 to 10 s
}
COMPARISON = Extent(processes=4, gates=30, truth_gates=0)


@dataclass(frozen=True)
class CalibrationPlan:
    """The device, settings and cases of one run, and when it ends."""

    device: str
    timer: str
    cache: str
    budget: float
    seed: int
    cases: tuple[Case, ...]
    extent: Extent
    seconds: float | None = None
    """No gate starts later than this after the start of the run."""
    recipes: bool = False
    """Whether other rules are run beside ours, for comparison."""


Progress = Callable[[int, int, str], None]
"""Told (gates done, gates wanted, the case of the latest) after every gate."""


def targets(cases: Sequence[Case], extent: Extent) -> Counter[str]:
    """The number of gates that each case is to have over all processes."""
    wanted: Counter[str] = Counter()
    for truth, a_process in ((False, extent.gates), (True, extent.truth_gates)):
        names = [case.name for case in cases if (case.group == "truth") is truth]
        total = extent.processes * a_process if names else 0
        for position, name in enumerate(names):
            wanted[name] = total // len(names) + (position < total % len(names))
    return wanted


def next_job(missing: Counter[str], cases: Sequence[Case], extent: Extent, seed: int, process: int) -> list[str]:
    """The cases of one process in random order: its share of each group, those that lack most first."""
    rng = np.random.default_rng([seed, process])
    chosen: list[str] = []
    for truth, share in ((False, extent.gates), (True, extent.truth_gates)):
        left = Counter({case.name: missing[case.name] for case in cases if (case.group == "truth") is truth})
        for _ in range(min(share, left.total())):
            name = max(left, key=lambda one: left[one])
            left[name] -= 1
            chosen.append(name)
    return [chosen[index] for index in rng.permutation(len(chosen))]


def run(plan: CalibrationPlan, calibrations: Calibrations, progress: Progress) -> list[str]:
    """Run processes until no gate is missing or the time is up; returns a line on each failure on the way.

    Raises `KgateError` where a process ends without a single gate: the next one would too.
    """
    until = None if plan.seconds is None else time.time() + plan.seconds
    wanted = targets(plan.cases, plan.extent)
    if not wanted.total():
        raise UsageError("No gate was asked for.", "Give --processes and --gates a number of at least 1.")
    troubles: list[str] = []
    while until is None or time.time() < until:
        done = _done(plan, calibrations)
        missing = +Counter({name: count - done[name] for name, count in wanted.items()})
        if not missing:
            break
        process = calibrations.next_process
        names = next_job(missing, plan.cases, plan.extent, plan.seed, process)
        if not names:
            break
        troubles += _run_process(plan, calibrations, process, names, until, wanted, progress)
    return troubles


def _done(plan: CalibrationPlan, calibrations: Calibrations) -> Counter[str]:
    if not plan.recipes:
        return counted(calibrations.gates)
    return counted(line for line in calibrations.comparisons if line["recipe"] == "kgate")


def _run_process(
    plan: CalibrationPlan,
    calibrations: Calibrations,
    process: int,
    names: list[str],
    until: float | None,
    wanted: Counter[str],
    progress: Progress,
) -> list[str]:
    """Run one child process, and add its gates to the file as they are done."""
    job = {
        "device": plan.device,
        "timer": plan.timer,
        "cache": plan.cache,
        "budget": plan.budget,
        "process": process,
        "seed": plan.seed,
        "cases": names,
        "recipes": plan.recipes,
        "until": until,
    }
    added = 0
    said = None
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        with _child(job, complaints) as child:
            assert child.stdout is not None
            for text in child.stdout:
                line = json.loads(text)
                kind = line.pop("kind")
                if kind == "process":
                    _check_same_device(calibrations, line)
                    calibrations.add("processes", line)
                elif kind in ("gate", "comparison"):
                    calibrations.add("gates" if kind == "gate" else "comparisons", line)
                    added += 1
                    done = _done(plan, calibrations)
                    progress(
                        sum(min(done[name], count) for name, count in wanted.items()), wanted.total(), line["case"]
                    )
                elif kind == "waiting":
                    print(f"kgate: {line['text']}", file=sys.stderr, flush=True)
                elif kind == "error":
                    said = KgateError(line["what"], line["todo"])
            status = child.wait()
        complaints.seek(0)
        tail = complaints.read().strip().splitlines()[-5:]
    out_of_time = until is not None and time.time() >= until
    if status == 0 and (added or out_of_time):
        return []
    if added:  # the gates that it did are kept, the others go to the next process
        return [f"process {process} ended after {added} of {len(names)} gates: {said or ' '.join(tail) or status}"]
    if out_of_time:
        return []
    raise said or KgateError(
        f"A calibration process ended with status {status} before its first gate.",
        "It said: " + (" / ".join(tail) or "nothing") + ".",
    )


@contextlib.contextmanager
def _child(job: dict[str, Any], complaints: IO[str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "pytest_kgate.validation.calibrate.run.child", json.dumps(job)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, text=True, encoding="ascii"
    ) as child:
        try:
            yield child
        finally:  # after Ctrl-C and after errors too; a child that has ended takes no notice
            if child.poll() is None:
                child.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(_GRACE_SECONDS)
                child.kill()


def _check_same_device(calibrations: Calibrations, process: dict[str, Any]) -> None:
    """Raise `UsageError` where the file has gates of another model of GPU or CPU: one table can't hold both."""
    new = device_name(process["environment"])
    for earlier in calibrations.processes[:1]:
        old = device_name(earlier["environment"])
        if old != new:
            raise UsageError(
                f"The gates in {calibrations.path} are from {old}, and this is {new}.", "Give --json another path."
            )


def device_name(environment: dict[str, Any]) -> str:
    """The model of the device, as its driver calls it."""
    gpu, cpu = environment.get("gpu") or {}, environment.get("cpu") or {}
    return str(gpu.get("name") or cpu.get("model") or environment.get("device"))
