"""What a task's `check_implementation` demands: tolerances, where it is the repository's usual one, or what it says."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import torch

from pytest_kgate.problems.published.task_folder.inputs import Inputs
from pytest_kgate.problems.trees import tree

_TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)

_RESOLVED = 16
"""Spacings of a type at 1. Who demands less demands the reference's own rounding, which another order of sums misses:
the default of 1e-8 beside values that cancel, or 1e-3 of float16."""


@dataclass(frozen=True)
class Demand:
    """How an answer of a task is judged."""

    said: str
    """For the record: `match_reference rtol=0.001 atol=0.001`, or `check_implementation`."""
    tolerance: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """(atol, rtol) by the answer's dtype, for those that resolve it; of others the reference's error decides."""
    equal: Callable[..., Any] | None = None
    """Where the check is the task's own."""


def demand_of(check: Callable[..., Any], inputs: Inputs) -> Demand:
    """What a task's `check_implementation(data, output)` demands."""
    made_by, _, _ = getattr(check, "__qualname__", "").partition(".<locals>")
    if made_by != "make_match_reference":
        return Demand("check_implementation", equal=OwnCheck(check, inputs))
    held = inspect.getclosurevars(check)
    matches = held.globals.get("match_reference")
    defaults = {} if matches is None else _defaults(matches)
    asked = {**defaults, **held.nonlocals.get("kwargs", {})}
    rtol, atol = (float(asked.get(name, 0.0)) for name in ("rtol", "atol"))
    tolerance = {
        str(one).removeprefix("torch."): (atol, rtol)
        for one in _TYPES
        if min(rtol, atol) >= _RESOLVED * torch.finfo(one).eps
    }
    return Demand(f"match_reference rtol={rtol:g} atol={atol:g}", tolerance)


class OwnCheck:
    """Asks a task's own check, as `Problem.equal` does."""

    def __init__(self, check: Callable[..., Any], inputs: Inputs) -> None:
        self._check = check
        self._inputs = inputs

    def __call__(self, answer: Any, exact: Any, data: Any) -> str:
        with torch.no_grad():
            said = self._check(self._inputs.with_outputs(tree.copy(data)), answer)
        good, message = said if isinstance(said, tuple) else (not said, said) if isinstance(said, str) else (said, "")
        return "" if good else f"the task's check_implementation says: {message or 'no'}"


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    return {
        one.name: one.default for one in inspect.signature(function).parameters.values() if one.default is not one.empty
    }
