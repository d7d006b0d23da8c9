"""How a `kbench` call is carried out: judged here, measured for another session, or only launched below a tool."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_kgate.bench import call as bench
from pytest_kgate.bench.processes.spawn import Launcher
from pytest_kgate.bench.processes.task import Task
from pytest_kgate.bench.request import Outcome
from pytest_kgate.bench.request import Request
from pytest_kgate.profile.under_tool import launch_only
from pytest_kgate.session.exit import end_now
from pytest_kgate.session.sanitize import examined
from pytest_kgate.session.terminal.progress_line import LiveLine

if TYPE_CHECKING:
    import pytest

    from pytest_kgate.device.protocol import Device
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.session.session import Session


def carry_out(request: Request, test: pytest.FixtureRequest, session: Session, device: Device) -> Outcome:
    """Check, race and judge; on the host where the candidate runs there, whatever the session's device is.

    Ends the session in a process that measures for another one, and the test where a tool that it needs is missing.
    """
    __tracebackhide__ = True
    device = _device_of(request, session, device)
    # A selftest runs no candidate; the parent of several processes has looked already.
    if session.child is None and not request.settings.selftest:
        request = replace(request, sanitizer=examined(test.node, session, device, request.settings.isolate))
    live = LiveLine(test.config, request.test)

    def run(request: Request) -> Outcome:
        with live:
            return bench.run(
                request,
                device,
                session.picker,
                session.environment,
                partial(end_now, session),
                live.update,
                live.notice,
                partial(_spawn, request, test, session),
            )

    return run(request) if session.child is None else session.child.run(request, run)


def launch(request: Request, test: pytest.FixtureRequest, session: Session, device: Device) -> Record:
    """Below a tool: only call the candidate; the record has no verdict on it."""
    __tracebackhide__ = True
    device = _device_of(request, session, device)
    launch_only.launch(test.node, request, device)
    return bench.not_judged(request, device, session.environment)


def _device_of(request: Request, session: Session, device: Device) -> Device:
    """A host kernel runs on the host also where the session has a GPU."""
    wanted = getattr(request.candidate, "device_kind", None)
    return session.device("host") if wanted == "host" and device.kind == "cuda" else device


def _spawn(
    request: Request,
    test: pytest.FixtureRequest,
    session: Session,
    process: int,
    backend: str | None,
    limit_seconds: float,
) -> Record:
    """Measure the call in a fresh process, the `process`-th of those that it asks for."""
    task = Task(request.test, request.call, process, request.settings.processes, backend, session.runs.records)
    return Launcher.of(test.config).run(task, limit_seconds)
