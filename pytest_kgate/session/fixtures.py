"""The fixtures: `kbench`, `sdpa_oracle`, `kernels`, and `kgate_device` for those who bring a device of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest

from pytest_kgate.errors import DeviceMissing
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import LibraryMissing
from pytest_kgate.errors import UsageError
from pytest_kgate.profile.under_tool import launch_only
from pytest_kgate.session.markers import gates_of
from pytest_kgate.session.options.sources import override
from pytest_kgate.session.outcome import Failure
from pytest_kgate.session.outcome import fail
from pytest_kgate.session.outcome import report_outcome
from pytest_kgate.session.session import SESSION
from pytest_kgate.session.session import Session
from pytest_kgate.session.terminal.progress_line import LiveLine

if TYPE_CHECKING:
    from pytest_kgate.bench.request import Outcome
    from pytest_kgate.bench.request import Request
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
        from pytest_kgate.bench import call as bench

        try:
            bench_request = _bench_request(request, session, candidate, problem, name, check, precision, own, overrides)
            device = _device_for(bench_request.candidate, session, kgate_device)
            if launch_only.active():
                launch_only.launch(request.node, bench_request, device)
                return bench.not_judged(bench_request, device, session.environment)
            # A selftest runs no candidate; the parent of several processes has looked already.
            if session.child is None and not bench_request.options.selftest:
                bench_request = replace(
                    bench_request, sanitizer=_sanitizer(request.node, session, device, bench_request.options.isolate)
                )
            live = LiveLine(request.config, request.node.nodeid)
            spawn = partial(_spawn, request, session, bench_request.call, bench_request.options.processes)

            def run(bench_request: Request) -> Outcome:
                with live:
                    return bench.run(
                        bench_request,
                        device,
                        session.picker,
                        session.environment,
                        session.end_now,
                        live.update,
                        live.notice,
                        spawn,
                    )

            outcome = run(bench_request) if session.child is None else session.child.run(bench_request, run)
        except KgateError as error:
            fail(error)
        except KeyboardInterrupt as interrupt:
            if request.config.getoption("fulltrace"):
                raise
            raise interrupt.with_traceback(None) from None  # shown at the test's own line
        session.emit(request.node, outcome.record)
        report_outcome(outcome, bench_request.options.inconclusive)
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


def sanitize_alone(item: pytest.Item) -> None:
    """Run a test that has a sanitize marker, and no `kbench` to do it, under the marker's tools; fails or skips it."""
    __tracebackhide__ = True
    session = item.config.stash[SESSION]
    try:
        found = _sanitizer(item, session, session.device())
    except KgateError as error:
        fail(error)
    if found is not None and found["verdict"] != "PASS":
        raise Failure(f"compute-sanitizer: {found['reason']}") from None


def _sanitizer(item: pytest.Item, session: Session, device: Device, isolate: bool = False) -> dict[str, Any] | None:
    """What the tools of the test's sanitize marker found; skips where they can't look, or fails if they have to."""
    __tracebackhide__ = True
    from pytest_kgate.profile.sanitizer.marker import Settings
    from pytest_kgate.profile.sanitizer.marker import outcome_of

    if isolate and gates_of(item).sanitize is not None:
        raise UsageError(
            "A sanitize marker can't go with isolate: the candidate would run in a test of the tool's process.",
            "Use one of them.",
        )
    options = override(session.options, **gates_of(item).overrides)
    settings = Settings(options.timeout, options.arch, options.require_gpu, options.require_sanitizer)
    found = outcome_of(item, lambda one: gates_of(one).sanitize, settings, device)
    if found is not None and found["verdict"] == "SKIP":
        if found["required"]:
            raise Failure(f"{found['reason']}.\nWithout --kgate-require-sanitizer the test is skipped.") from None
        pytest.skip(found["reason"])
    return found


def _beside(folder: Path, implementation: str | Path) -> str | Path:
    """A source file beside the test, where there is one of that name."""
    if Path(implementation).suffix and (folder / implementation).is_file():
        return folder / implementation
    return implementation


def _bench_request(
    request: pytest.FixtureRequest,
    session: Session,
    candidate: Callable[..., Any] | str,
    problem: Problem,
    name: str | None,
    check: bool,
    precision: float | None,
    own: bool | None,
    overrides: dict[str, Any],
) -> Request:
    from pytest_kgate.bench.request import Request as RequestType
    from pytest_kgate.problems.problem import Problem as ProblemType
    from pytest_kgate.statistics.gates import ErrorGate
    from pytest_kgate.statistics.gates import SpeedGate

    if isinstance(candidate, ProblemType):
        raise UsageError("kbench was given the problem first.", "Write kbench(candidate, problem).")
    if not isinstance(problem, ProblemType):
        raise UsageError(
            f"kbench takes a Problem as its second argument, got {type(problem).__name__}.",
            "Make one with sdpa_oracle(shape), or with pytest_kgate.Problem(...).",
        )
    demands = gates_of(request.node)
    speed, error = demands.speed, demands.error
    if "speedup" in overrides:
        speed = (SpeedGate(_positive("speedup", overrides.pop("speedup"))),)
    if "allclose" in overrides:
        error = ErrorGate(_positive("allclose", overrides.pop("allclose")))
    options = override(override(session.options, **demands.overrides), "kbench", **overrides)
    if isinstance(candidate, str):
        from pytest_kgate.integrity.isolation.candidate_name import CandidateFunction

        found = CandidateFunction.parse(candidate, (request.path.parent, request.config.invocation_params.dir))
        candidate = found if options.isolate or options.selftest else found.load()
    test, attempt = request.node.nodeid, session.attempt_of(request.node)
    speed = tuple(replace(gate, rule=options.rule).at_attempt(attempt) for gate in speed)
    return RequestType(
        test, session.next_call(test), candidate, problem, speed, error, options, name, check, precision, attempt, own
    )


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise UsageError(f"kbench({name}=...) cannot be {value!r}.", "It takes a positive number.")
    return float(value)


def _device_for(candidate: Any, session: Session, default: Device) -> Device:
    """A host kernel runs on the host also where the session has a GPU."""
    wanted = getattr(candidate, "device_kind", None)
    if wanted == "host" and default.kind == "cuda":
        return session.device("host")
    return default


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


def _spawn(
    request: pytest.FixtureRequest,
    session: Session,
    call: int,
    of: int,
    process: int,
    backend: str | None,
    limit_seconds: float,
) -> Record:
    from pytest_kgate.bench.processes.spawn import Launcher
    from pytest_kgate.bench.processes.task import Task

    task = Task(request.node.nodeid, call, process, of, backend, session.records_of_run())
    return Launcher.of(request.config).run(task, limit_seconds)
