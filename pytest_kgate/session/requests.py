"""What one `kbench` call of a test asks for: from its arguments, the test's markers and the session's options."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.bench.request import UNVERIFIED
from pytest_kgate.bench.request import Request
from pytest_kgate.bench.request import Settings
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.problem import Problem
from pytest_kgate.session.markers import gates_of
from pytest_kgate.session.options.options import Options
from pytest_kgate.session.options.sources import override
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import SpeedGate

if TYPE_CHECKING:
    import pytest

    from pytest_kgate.session.session import Session


def request_of(
    test: pytest.FixtureRequest,
    session: Session,
    candidate: Callable[..., Any] | str,
    problem: Problem,
    overrides: dict[str, Any],
    **more: Any,
) -> tuple[Request, Options]:
    """The request of a call, and the options that hold for it.

    `more` are fields of `Request` that the call gives as they are.

    Raises `UsageError` where an argument makes no sense, `CandidateError` where there is no candidate of that name.
    """
    if isinstance(candidate, Problem):
        raise UsageError("kbench was given the problem first.", "Write kbench(candidate, problem).")
    if not isinstance(problem, Problem):
        raise UsageError(
            f"kbench takes a Problem as its second argument, got {type(problem).__name__}.",
            "Make one with sdpa_oracle(shape), or with pytest_kgate.Problem(...).",
        )
    if "debug" in overrides:
        raise UsageError(
            "kbench(debug=...) comes too late: the kernel is built already.",
            'Write kernels("name", debug=True), or @pytest.mark.perf(debug=True).',
        )
    demands = gates_of(test.node)
    speed, error = demands.speed, demands.error
    if "speedup" in overrides:
        speed = (SpeedGate(_positive("speedup", overrides.pop("speedup"))),)
    if "allclose" in overrides:
        error = ErrorGate(_positive("allclose", overrides.pop("allclose")))
    options = override(override(session.options, **demands.overrides), "kbench", **overrides)
    if isinstance(candidate, str):
        from pytest_kgate.integrity.isolation.candidate_name import CandidateFunction

        found = CandidateFunction.parse(candidate, (test.path.parent, test.config.invocation_params.dir))
        candidate = found if options.isolate or options.selftest else found.load()
    attempt = session.runs.attempt_of(test.node)
    asked = Request(
        test=test.node.nodeid,
        call=session.runs.next_call(test.node.nodeid),
        candidate=candidate,
        problem=problem,
        speed=tuple(replace(gate, rule=options.rule).at_attempt(attempt) for gate in speed),
        error=error,
        settings=_settings(options, test.config),
        attempt=attempt,
        **more,
    )
    return asked, options


def _settings(options: Options, config: pytest.Config) -> Settings:
    """What the options of one call are to the bench, which knows of no session."""
    known = {field.name for field in dataclasses.fields(options)}
    wanted = [field.name for field in dataclasses.fields(Settings) if field.name in known]
    unverified = options.integrity == "off" and config.pluginmanager.hasplugin(UNVERIFIED)
    return Settings(**{name: getattr(options, name) for name in wanted}, verify_timed_launches=not unverified)


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise UsageError(f"kbench({name}=...) cannot be {value!r}.", "It takes a positive number.")
    return float(value)
