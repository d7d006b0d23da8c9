"""A function's answers, held to a problem's as a call of kbench does, without a race."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.problem_calls import demand_repeatable
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.integrity.guard_zones import GuardZones
from pytest_kgate.problems.problem import Problem

_SEED = 42


def failure(candidate: Callable[..., Any], problem: Problem) -> str | None:
    """By what the candidate fails the check on the host, such as `tolerance`; nothing where it is right."""
    demand_repeatable(problem, HostDevice())
    zones = GuardZones(HostDevice())
    called, reference = problem.called(candidate), problem.reference
    assert callable(reference)
    arms = [bind(role, one, {}, problem.mutates) for role, one in (("candidate", called), ("reference", reference))]
    return check(HostDevice(), zones.problem(problem), zones.arm(arms[0]), arms[1], None, _SEED).failed or None
