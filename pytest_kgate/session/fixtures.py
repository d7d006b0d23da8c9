"""The fixtures: `kbench`, `sdpa_oracle`, `kernels`, and `kgate_device` for those who bring a device of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_kgate.errors import KgateError
from pytest_kgate.profile.under_tool import launch_only
from pytest_kgate.session.markers import gates_of
from pytest_kgate.session.options.sources import override
from pytest_kgate.session.outcome import fail
from pytest_kgate.session.outcome import report_outcome
from pytest_kgate.session.session import SESSION

if TYPE_CHECKING:
    from pytest_kgate.build.kernel import Kernel
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.integrity.isolation.candidate_name import CandidateSource
    from pytest_kgate.problems.problem import Problem
    from pytest_kgate.problems.problem import Shape
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.session.fixture_types import Kbench
    from pytest_kgate.session.fixture_types import Kernels
    from pytest_kgate.session.fixture_types import SdpaOracle


@pytest.fixture(scope="session")
def kgate_device(pytestconfig: pytest.Config) -> Device:
    """The device of --kgate-device. Override this fixture to race on a device of your own."""
    try:
        return pytestconfig.stash[SESSION].device()
    except KgateError as error:
        fail(error)


@pytest.fixture
def kbench(request: pytest.FixtureRequest, kgate_device: Device) -> Kbench:
    """`kbench(candidate, problem, **overrides)`: check, race, judge, record.

    The candidate is a callable, or named: "path/to/file.py:function", relative to the test's own folder or to where
    pytest was started, or "package.module:function". Raises `GateFailure`, or returns the record. Overrides: `name`
    (the candidate's, in tables), `check=False` (measure a wrong candidate too), `own` (whether it claims to call no
    library), `precision` (stop once the ratio's half-width is below it), `speedup` and `allclose` (a bound, instead of
    a marker's), and every option of the perf marker.
    """
    session = request.config.stash[SESSION]

    def kbench(
        candidate: Callable[..., Any] | str,
        problem: Problem,
        *,
        name: str | None = None,
        check: bool = True,
        precision: float | None = None,
        own: bool | None = None,
        **overrides: Any,
    ) -> Record:
        __tracebackhide__ = True
        from pytest_kgate.session import calls
        from pytest_kgate.session.requests import request_of

        try:
            asked, options = request_of(
                request, session, candidate, problem, overrides, name=name, check=check, precision=precision, own=own
            )
            if launch_only.active():
                return calls.launch(asked, request, session, kgate_device)
            outcome = calls.carry_out(asked, request, session, kgate_device)
        except KgateError as error:
            fail(error)
        except KeyboardInterrupt as interrupt:
            if request.config.getoption("fulltrace"):
                raise
            raise interrupt.with_traceback(None) from None  # shown at the test's own line
        session.emit(request.node, outcome.record)
        report_outcome(outcome, options)
        return outcome.record

    return kbench


@pytest.fixture
def sdpa_oracle(request: pytest.FixtureRequest) -> SdpaOracle:
    """`sdpa_oracle(shape, dtype="float16", backend=None, seed=None)`: attention as a `Problem`."""
    session = request.config.stash[SESSION]

    def sdpa_oracle(
        shape: Shape, dtype: str = "float16", backend: str | None = None, seed: int | None = None
    ) -> Problem:
        __tracebackhide__ = True
        from pytest_kgate.problems.attention.problem import sdpa_problem

        try:
            options = override(session.options, **gates_of(request.node).overrides)
            return sdpa_problem(shape, dtype, backend or options.sdpa_backend, seed)
        except KgateError as error:
            fail(error)

    return sdpa_oracle


@pytest.fixture
def kernels(request: pytest.FixtureRequest, kgate_device: Device) -> Kernels:
    """`kernels("wmma", BLOCK_M=64)`: compile (once, cached) and load a shipped implementation, or a source file.

    A file's path is relative to the test's own folder, or to where pytest was started. `debug=True` makes a build whose
    device asserts are on. Under --kgate-isolate it is compiled, and opened only in the candidate's process.
    """
    session = request.config.stash[SESSION]

    def kernels(implementation: str | Path, *, debug: bool | None = None, **knobs: int) -> Kernel | CandidateSource:
        __tracebackhide__ = True
        from pytest_kgate.session.kernels import kernel_for

        try:
            return kernel_for(request, session, kgate_device, implementation, knobs, debug)
        except KgateError as error:
            fail(error)

    return kernels
