"""Inside the process that one of NVIDIA's tools watches: pytest as usual, but `kbench` only launches the candidate.

Nothing else should run on the GPU there, because the tool would report it and slow it down: inputs are drawn on the
host and copied, no reference and no exact answer is computed, nothing is timed. The output is left unwritten, so that a
candidate which reads it, or leaves a part of it unwritten, is found: copying the answer to the host reads all of it.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_kgate.problems.trees import foreign
from pytest_kgate.problems.trees.foreign import attribute
from pytest_kgate.profile.under_tool.variables import FULL_SIZE
from pytest_kgate.profile.under_tool.variables import RESULTS
from pytest_kgate.profile.under_tool.variables import TOOL
from pytest_kgate.profile.under_tool.variables import finds_unwritten
from pytest_kgate.profile.under_tool.variables import launches_are_counted

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_kgate.bench.request import Request
    from pytest_kgate.device.arm import Arm
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.problems.problem import Problem

_SEEDS = {"normal": 1, "hard": 2}


class UnderTool:
    """The plugin of the child: keeps the tests that launch kernels, and writes what became of each."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        tell({"configured": True})
        gc.disable()  # what is imported stays; to search it for garbage takes 0.1 s of 1.7 with PyTorch on a host

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        gc.enable()
        wanted = ["kbench" in getattr(item, "fixturenames", ()) or _marked(item) for item in items]
        config.hook.pytest_deselected(items=[item for item, keep in zip(items, wanted, strict=True) if not keep])
        items[:] = [item for item, keep in zip(items, wanted, strict=True) if keep]
        # Whatever becomes of this process, its parent knows which tests it was to run.
        tell({"collected": {item.nodeid: f"{item.path}::{item.nodeid.partition('::')[2]}" for item in items}})

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.when == "call" or (report.when == "setup" and not report.passed):
            tell(
                {
                    "test": item.nodeid,
                    "outcome": report.outcome,
                    "message": _message(report, call),
                }
            )
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if launches_are_counted():
            session.exitstatus = pytest.ExitCode.OK  # a test's failure is none of the tool, which would complain of it
        tell({"finished": True})
        gc.freeze()  # pytest ends with ten searches for garbage, which take 0.2 s where PyTorch is loaded


def tell(line: dict[str, Any]) -> None:
    """Add a line to the file of results, with the time; at once, since the next launch may take this process down."""
    line = {**line, "at": time.monotonic()}
    with Path(os.environ[RESULTS]).open("a", encoding="ascii") as file:
        file.write(json.dumps(line) + "\n")


def _marked(item: pytest.Item) -> bool:
    return item.get_closest_marker("sanitize") is not None


def _message(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    if isinstance(report.longrepr, tuple):  # a skip: file, line, reason
        return report.longrepr[2].removeprefix("Skipped: ")
    if call.excinfo is None:
        return ""
    return str(getattr(call.excinfo.value, "msg", None) or call.excinfo.exconly())


def skip_unless_on_gpu(request: Request, device: Device) -> None:
    """Skip a test whose candidate launches nothing that the tool could watch."""
    if device.kind != "cuda" or attribute(request.candidate, "device_kind", str, "cuda") != "cuda":
        pytest.skip(f"{os.environ[TOOL]} watches CUDA kernels, and the candidate does not run on a CUDA device")


def launch(item: pytest.Item, request: Request, device: Device) -> None:
    """Call the candidate on a normal and a hard draw of its problem, or of the smaller problem that this one names."""
    from pytest_kgate.device.answer import outputs_of
    from pytest_kgate.device.arm import bind
    from pytest_kgate.errors import UsageError

    skip_unless_on_gpu(request, device)
    problem = request.problem if os.environ.get(FULL_SIZE) or request.problem.small is None else request.problem.small
    tell({"launch": item.nodeid, "candidate": name_of(request), "problem": problem.name})
    arm = bind("candidate", problem.called(request.candidate), problem.params, problem.mutates)
    for kind, seed in _SEEDS.items():
        draw = problem.hard_inputs if kind == "hard" else problem.inputs
        if draw is None:
            continue
        with device.running(f"running the candidate under {os.environ[TOOL]}"):
            inputs, output = _drawn(problem, draw, seed, arm, device)
            answer = _called(arm, inputs, output)
            device.synchronize()
            outputs = list(outputs_of(answer).values())
            if not outputs or not all(hasattr(one, "cpu") for one in outputs):
                raise UsageError(f"The candidate returned {type(answer).__name__}, not tensors.", "Return the answer.")
            for one in outputs:
                one.cpu()  # initcheck reports what was never written
            device.synchronize()
            if finds_unwritten() and arm.takes_output and not problem.mutates:
                _tell_whether_whole(item, arm, inputs, output)


def name_of(request: Request) -> str:
    """The candidate's name, as tables have it."""
    return request.name or foreign.name_of(request.candidate)


def _tell_whether_whole(item: pytest.Item, arm: Arm, inputs: tuple[Any, ...], output: Any) -> None:
    """Tell where the answer lies that was read just now, if calls of these inputs write all of it."""
    from pytest_kgate.profile.under_tool.written import memory_of
    from pytest_kgate.profile.under_tool.written import written_whole

    whole = written_whole(functools.partial(_called, arm, inputs), output)
    tell({"written": item.nodeid, "memory": memory_of(output) if whole else []})


def _called(arm: Arm, inputs: tuple[Any, ...], output: Any) -> Any:
    from pytest_kgate.device.arm import CALL_CONVENTION
    from pytest_kgate.device.arm import blame

    with blame("The candidate", CALL_CONVENTION, skips=True):
        return arm.call(inputs, output)


def _drawn(problem: Problem, draw: Any, seed: int, arm: Arm, device: Device) -> tuple[tuple[Any, ...], Any]:
    """Inputs on the device, and outputs that nobody has written."""
    import torch

    from pytest_kgate.problems.trees import tree

    drawn = draw(torch.Generator("cpu").manual_seed(seed))
    on_host = drawn if isinstance(drawn, tuple) else tuple(drawn) if isinstance(drawn, list) else (drawn,)

    def on_device(tensor: Tensor) -> Tensor:
        if not tree.has_span(tensor):
            return tensor.to(device.torch_device)
        return tree.copy(tensor, lambda one: tree.room_for(one, device.torch_device))

    inputs = tree.mapped(on_host, on_device)
    output = None
    if arm.takes_output:
        output = tree.mapped(unwritten(problem, on_host), lambda one: torch.empty_like(one, device=device.torch_device))
    return inputs, output


def unwritten(problem: Problem, inputs: tuple[Any, ...]) -> Any:
    """Outputs on the meta device, of the shapes and dtypes that the reference returns, found without running it."""
    import torch

    from pytest_kgate.problems.trees import tree

    def on_meta(one: Tensor) -> Tensor:
        return torch.empty_like(one, device="meta")

    references = problem.reference.values() if hasattr(problem.reference, "values") else (problem.reference,)
    for place in ("meta", "cpu"):
        placed = tree.mapped(inputs, functools.partial(torch.Tensor.to, device=place))
        for reference in references:
            try:
                with torch.no_grad():
                    return tree.mapped(reference(*placed, **problem.params), on_meta)
            except Exception:  # a reference that is a kernel itself; the exact answer has the shape too
                continue
    exact = problem.exact(*inputs, **problem.params)
    dtype = next(tree.tensors(inputs)).dtype
    return tree.mapped(exact, lambda one: on_meta(one.to(dtype) if one.is_floating_point() else one))
