"""What the arguments of a call come to, whoever makes it: `kbench` in a test, or `evaluate`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.bench.request import Settings
from pytest_kgate.errors import UsageError
from pytest_kgate.errors import hint
from pytest_kgate.errors import real
from pytest_kgate.errors import shown
from pytest_kgate.problems.problem import Problem
from pytest_kgate.profile.resources.limits import RESOURCES
from pytest_kgate.profile.resources.limits import ResourceLimit
from pytest_kgate.profile.resources.limits import limit
from pytest_kgate.statistics.gates import LARGEST_SHARE

if TYPE_CHECKING:
    from pytest_kgate.evaluation.options.options import Options


_JOINT_ROUNDS = 12
"""Of a joint race for which nobody asks for a number: twelve blocks of one round each."""


def demand_problem(caller: str, candidate: object, problem: object) -> None:
    """Raise `UsageError` where the two arguments of a call are not a candidate and a problem, in this order."""
    if isinstance(candidate, Problem):
        raise UsageError(f"{caller} was given the problem first.", f"Write {caller}(candidate, problem).")
    if not isinstance(problem, Problem):
        raise UsageError(
            f"{caller} takes a Problem as its second argument, got {type(problem).__name__}.",
            "Make one with sdpa_oracle(shape), or with pytest_kgate.Problem(...)."
            if caller == "kbench"
            else "Make one with pytest_kgate.Problem(...).",
        )


def positive(caller: str, name: str, value: Any) -> float:
    """The value of an argument that takes a positive number; raises `UsageError` for others."""
    number = real(value)
    if not 0 < number < float("inf"):
        raise UsageError(f"{caller}({name}=...) cannot be {shown(value)}.", "It takes a positive number.")
    return number


def demand_plain(caller: str, name: object, check: object, own: object, precision: object) -> None:
    """Raise `UsageError` where an argument of a call that is no option is of another type than it must be."""
    if precision is not None:
        positive(caller, "precision", precision)
    for argument, value, fits, kind in (
        ("name", name, name is None or (isinstance(name, str) and name != ""), "a string that is not empty, or None"),
        ("check", check, isinstance(check, bool), "True or False"),
        ("own", own, own is None or isinstance(own, bool), "True, False or None"),
    ):
        if not fits:
            raise UsageError(f"{caller}({argument}=...) cannot be {shown(value)}.", f"It takes {kind}.")


def share(caller: str, name: str, value: Any) -> float:
    """The value of an argument that takes a share of the roofline; raises `UsageError` for others."""
    found = positive(caller, name, value)
    if found > LARGEST_SHARE:
        raise UsageError(
            f"{caller}({name}=...) cannot be {shown(value)}.", "It takes a share of the roofline, such as 0.8."
        )
    return found


def limits_of(caller: str, wanted: Mapping[str, float | str]) -> list[ResourceLimit]:
    """What an argument like the `resources` marker limits; raises `UsageError` for what it does not know."""
    if not isinstance(wanted, Mapping):
        raise UsageError(f"{caller}(resources=...) cannot be {wanted!r}.", 'Write resources={"registers": 72}, say.')
    unknown = next((name for name in wanted if name not in RESOURCES), None)
    if unknown is not None:
        raise UsageError(
            f"{caller}(resources=...) knows no resource {unknown!r}.{hint(unknown, RESOURCES)}",
            f"There are {', '.join(RESOURCES)}.",
        )
    try:
        return [limit(name, value) for name, value in wanted.items()]
    except ValueError as error:
        raise UsageError(f"{caller}(resources=...): {error}.", 'Write resources={"registers": 72}, say.') from None


def without_judging(options: Options) -> Options:
    """The options of a call that only measures: what asks for more rounds or processes gives way."""
    return dataclasses.replace(options, processes=1, percentile=None, rounds=options.rounds or _JOINT_ROUNDS)


def settings_of(options: Options, **more: Any) -> Settings:
    """What the options of one call are to the bench, and `more` that no option says."""
    known = {field.name for field in dataclasses.fields(options)}
    wanted = [field.name for field in dataclasses.fields(Settings) if field.name in known]
    return Settings(**{**{name: getattr(options, name) for name in wanted}, **more})
