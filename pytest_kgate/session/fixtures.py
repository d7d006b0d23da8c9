"""The fixtures: `kbench`, `sdpa_oracle`, `kernels`, and `kgate_device` for those who bring a device of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_kgate.errors import DeviceMissing
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import LibraryMissing
from pytest_kgate.profile.under_tool import launch_only
from pytest_kgate.session.markers import gates_of
from pytest_kgate.session.options.sources import override
from pytest_kgate.session.outcome import fail
from pytest_kgate.session.outcome import report_outcome
from pytest_kgate.session.session import SESSION
from pytest_kgate.session.session import Session

if TYPE_CHECKING:
    from pytest_kgate.build.kernel import Kernel
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.integrity.isolation.candidate_name import CandidateSource
    from pytest_kgate.problems.problem import Problem
    from pytest_kgate.problems.problem import Shape
    from pytest_kgate.report.record.record import Record


@pytest.fixture(scope="session")
def kgate_device(pytestconfig: pytest.Config) -> Device:
    """The device of --kgate-device. Override this fixture to race on a device of your own."""
    try:
        return pytestconfig.stash[SESSION].device()
    except KgateError as error:
        fail(error)


@pytest.fixture
def kbench(request: pytest.FixtureRequest, kgate_device: Device) -> Callable[..., Record]:
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
            asked = request_of(
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
        report_outcome(outcome, asked.options.inconclusive)
        return outcome.record

    return kbench


@pytest.fixture
def sdpa_oracle(request: pytest.FixtureRequest) -> Callable[..., Problem]:
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
def kernels(request: pytest.FixtureRequest, kgate_device: Device) -> Callable[..., Kernel | CandidateSource]:
    """`kernels("wmma", BLOCK_M=64)`: compile (once, cached) and load a shipped implementation, or a source file.

    A file's path is relative to the test's own folder, or to where pytest was started. `debug=True` makes a build whose
    device asserts are on. Under --kgate-isolate it is compiled, and opened only in the candidate's process.
    """
    session = request.config.stash[SESSION]

    def kernels(implementation: str | Path, *, debug: bool = False, **knobs: int) -> Kernel | CandidateSource:
        __tracebackhide__ = True
        from pytest_kgate.build.kernel import load_kernel
        from pytest_kgate.build.registry import find_source

        try:
            where = _beside(request.path.parent, implementation)
            source = find_source(where)
            if source.implementation and session.options.impl and source.implementation not in session.options.impl:
                pytest.skip(f"{source.implementation} is not among --kgate-impl {','.join(session.options.impl)}")
            _need_device(source.device_kind, str(implementation), session, kgate_device)
            if override(session.options, **gates_of(request.node).overrides).isolate:
                from pytest_kgate.integrity.isolation.candidate_name import build_named

                return build_named(where, knobs, arch=session.options.arch, debug=debug)
            return load_kernel(where, knobs, arch=session.options.arch, debug=debug)
        except LibraryMissing as error:
            if source.implementation in session.options.impl:  # asked for by name
                fail(error)
            pytest.skip(str(error).replace("\n", " "))
        except KgateError as error:
            fail(error)

    return kernels


def _beside(folder: Path, implementation: str | Path) -> str | Path:
    """A source file beside the test, where there is one of that name."""
    if Path(implementation).suffix and (folder / implementation).is_file():
        return folder / implementation
    return implementation


def _need_device(wanted: str, name: str, session: Session, device: Device) -> None:
    __tracebackhide__ = True  # a skip is shown at the test's own line
    options = session.options
    if wanted == "cuda" and device.kind != "cuda":
        asked = " (--kgate-device host)" if options.device == "host" else ""
        missing = DeviceMissing(
            f"{name} needs a CUDA device, and there is none here{asked}.",
            "Run on a machine with an NVIDIA GPU and a CUDA build of PyTorch.",
        )
        if options.require_gpu:
            fail(missing)
        pytest.skip(missing.what)
    if wanted == "host" and options.device.startswith("cuda"):
        pytest.skip(f"{name} runs on the host, and --kgate-device is {options.device}")
