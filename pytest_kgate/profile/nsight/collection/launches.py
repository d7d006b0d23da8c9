"""Inside the process that Nsight Compute watches: one call of each arm on the problem's real inputs, in a named range.

The profiler is off (`--profile-from-start off`) but for exactly these calls, between cudaProfilerStart and Stop: what
else the process launches, drawing inputs, warming up, compiling, is neither slowed down nor reported, and it does not
matter what a kernel is called. Which launch is whose the NVTX ranges tell. Each call is in two of one name: one that
holds for its thread, and one for the whole process, since a backward pass launches from threads of PyTorch's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_kgate.profile.under_tool.launch_only import name_of
from pytest_kgate.profile.under_tool.launch_only import skip_unless_on_gpu
from pytest_kgate.profile.under_tool.launch_only import tell
from pytest_kgate.profile.under_tool.variables import REFERENCES
from pytest_kgate.profile.under_tool.variables import TOOL

if TYPE_CHECKING:
    from pytest_kgate.bench.request import Request
    from pytest_kgate.device.arm import Arm
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.device.protocol import Workload
    from pytest_kgate.problems.problem import Problem
    from pytest_kgate.report.record.record import Record

_SEED = 1

_WARM_UPS = 3
"""Calls before the one that is watched: the first loads and compiles, the second may capture a graph, the third uses
it."""

MOST_SECONDS = 60.0
"""For which the tool looks at one call. It takes some tenths of a second a launch, and calls of thousands would take
all the time that there is for all tests."""

_LOOKED_AT = 5
"""Calls by which references are compared that may have raced."""

_SLOW = 3.0
"""Times as slow as the fastest: such a reference has not raced. The comparison is coarse, as the tool makes each launch
slower."""


def launch(item: pytest.Item, request: Request, device: Device) -> None:
    """Call the candidate, and its reference, once each in a range of its own.

    Where it is not known yet which reference races, all that may be the fastest are called.
    """
    from pytest_kgate.bench.correctness.problem_calls import reference_output
    from pytest_kgate.bench.correctness.problem_calls import workload_of
    from pytest_kgate.device.arm import CALL_CONVENTION
    from pytest_kgate.device.arm import bind
    from pytest_kgate.device.arm import blame

    skip_unless_on_gpu(request, device)
    problem = request.problem
    candidate = bind("candidate", problem.called(request.candidate), problem.params, problem.mutates)
    references = _references(problem, _raced(item.nodeid, request.call), device)
    shaped = next(iter(references.values()))
    workload = workload_of(problem, device, reference_output(device, problem, shaped))
    number = item.session.items.index(item)
    gpu = device.environment().get("gpu", {}).get("uuid")
    arms: list[tuple[str, Arm, str | None]] = [("candidate", candidate, None)]
    for place, (backend, arm) in enumerate(_fast(references, workload, device).items()):
        arms.append((f"reference.{place}", arm, backend))  # its own name may be of any letters
    for role, arm, backend in arms:
        name = f"kgate.{number}.{request.call}.{role}"
        facts = {"launch": item.nodeid, "call": request.call, "arm": arm.name, "backend": backend, "gpu": gpu}
        tell({**facts, "state": "began", "range": name, "candidate": name_of(request), "problem": problem.name})
        known, seconds = None if role == "candidate" else _known(problem, backend), 0.0
        if known is None:
            with blame(f"The {arm.name}", CALL_CONVENTION, skips=True):
                cut_off, seconds = _counted(arm, name, workload, device)
            known = _Counted(problem, backend, name, cut_off)
            _COUNTED.extend([known] if role != "candidate" else [])
        ended = {"state": "ended", "range": known.range, "cut_off": known.cut_off}
        tell({**facts, **ended, "watched_seconds": seconds})


@dataclass(frozen=True)
class _Counted:
    """A call that has been watched."""

    problem: Problem
    backend: str | None
    range: str
    cut_off: bool
    """Whether it made more launches than were looked at."""


_COUNTED: list[_Counted] = []
"""Of references: tests on one problem are given the counters of one call, since each takes as long as a candidate's."""


def _known(problem: Problem, backend: str | None) -> _Counted | None:
    """The call that has been watched of the same reference, on the same inputs."""
    for one in _COUNTED:
        same = one.problem.inputs is problem.inputs and dict(one.problem.params) == dict(problem.params)
        if same and _function(one.problem, one.backend) is _function(problem, backend):
            return one
    return None


def _function(problem: Problem, backend: str | None) -> Callable[..., Any]:
    if isinstance(problem.reference, Mapping):
        return problem.reference[str(backend)]
    return problem.reference


def _counted(arm: Arm, name: str, workload: Workload, device: Device) -> tuple[bool, float]:
    """Call the arm once in a range of this name; whether it was cut off, and its seconds under the tool."""
    inputs, output = _warmed_up(arm, workload, device)
    start = time.monotonic()
    with device.running(f"running the {arm.name} under {os.environ[TOOL]}"), _watched(device, name) as cut_off:
        arm.call(inputs, output)
        device.synchronize()
    seconds = time.monotonic() - start
    if arm.prepare is not None:
        arm.prepare([])
    return cut_off.is_set(), seconds


def tell_record(item: pytest.Item, record: Record) -> None:
    """Hand on what is known of candidate and problem here, for who has not raced them."""
    tell({"launch": item.nodeid, "state": "record", "call": record["call"], "record": record})


def _raced(test: str, call: int) -> str | None:
    """The name of the reference that this call of the test has raced against; None where that is not known."""
    known: Mapping[str, Mapping[str, str | None]] = json.loads(os.environ[REFERENCES])
    return known.get(test, {}).get(str(call))


def _references(problem: Problem, raced: str | None, device: Device) -> dict[str | None, Arm]:
    """Those that may be the one that races, by name: the named one, or all that run here."""
    from pytest_kgate.bench.correctness.problem_calls import reference_output
    from pytest_kgate.device.arm import bind
    from pytest_kgate.errors import KgateError
    from pytest_kgate.errors import ProblemError
    from pytest_kgate.errors import UsageError

    if not isinstance(problem.reference, Mapping):
        return {None: bind("reference", problem.reference, problem.params, problem.mutates)}
    functions: Mapping[str, Callable[..., Any]] = problem.reference
    if raced is not None and raced in functions:
        functions = {raced: functions[raced]}
    found: dict[str | None, Arm] = {}
    for name, function in functions.items():
        arm = bind("reference", function, problem.params, problem.mutates)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch explains at length why a backend does not apply
                reference_output(device, problem, arm)
        except (ProblemError, UsageError):
            raise
        except Exception:
            continue
        found[name] = arm
    if not found:
        raise KgateError(
            f"None of the references of {problem.name} runs on {device.torch_device}.",
            "A test without this tool says why.",
        )
    return found


def _fast(references: Mapping[str | None, Arm], workload: Workload, device: Device) -> Mapping[str | None, Arm]:
    """Those that are not far slower than the fastest."""
    if len(references) == 1:
        return references
    seconds = {name: _rough_seconds(arm, workload, device) for name, arm in references.items()}
    return {name: arm for name, arm in references.items() if seconds[name] <= _SLOW * min(seconds.values())}


def _rough_seconds(arm: Arm, workload: Workload, device: Device) -> float:
    inputs, output = _warmed_up(arm, workload, device)
    with device.running("comparing the references"):
        start = device.clock()
        for _ in range(_LOOKED_AT):
            arm.call(inputs, output)
        device.synchronize()
        return device.clock() - start


def _warmed_up(arm: Arm, workload: Workload, device: Device) -> tuple[tuple[Any, ...], Any]:
    """Inputs and an output on which the arm has been called; inputs are drawn anew where its calls change them."""
    with device.running(f"warming up the {arm.name}"):
        inputs = workload.draw(_SEED)
        if arm.prepare is not None:
            arm.prepare([inputs])
        output = workload.output_for(arm, inputs)
        for _ in range(_WARM_UPS):
            arm.call(inputs, output)
        if workload.mutates:
            inputs = workload.draw(_SEED)
        device.synchronize()
    return inputs, output


@contextlib.contextmanager
def _watched(device: Device, name: str) -> Iterator[threading.Event]:
    """Have the tool look, and find this name on whatever is launched, for at most `MOST_SECONDS`.

    The event is set where it stopped looking before the call was over. A device that is no GPU launches nothing.
    """
    cut_off = threading.Event()
    if not device.torch_device.startswith("cuda"):
        yield cut_off
        return
    import torch
    from torch.cuda import nvtx
    from torch.cuda import profiler

    def stop() -> None:
        cut_off.set()
        with torch.cuda.device(device.torch_device):
            profiler.stop()

    timer = threading.Timer(MOST_SECONDS, stop)
    timer.daemon = True
    nvtx.range_push(name)
    whole = nvtx.range_start(name)
    profiler.start()
    timer.start()
    try:
        yield cut_off
    finally:
        timer.cancel()
        profiler.stop()
        nvtx.range_end(whole)
        nvtx.range_pop()
