"""Strategies by name, and which one suits a space and what may be spent."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from typing import Literal

from pytest_kgate.errors import UsageError
from pytest_kgate.search.space.space import Space
from pytest_kgate.search.strategies.evolve import Evolve
from pytest_kgate.search.strategies.evolve import Parts
from pytest_kgate.search.strategies.listed import by_chance
from pytest_kgate.search.strategies.listed import grid
from pytest_kgate.search.strategies.protocol import Strategy

Name = Literal["auto", "grid", "evolve", "local", "random", "tpe"]

BUILD_SECONDS = 4.5
"""Of one candidate on one core: the middle of 4 to 5.5 s, measured with nvcc 13."""


def chosen(
    space: Space,
    *,
    seconds: float | None,
    evaluations: int | None,
    builders: int,
    build_seconds: float = BUILD_SECONDS,
) -> Literal["grid", "evolve"]:
    """What `auto` comes to: the whole grid where all builds fit half of what may be spent, else `evolve`.

    `builders` is the number of builds at one time.
    """
    if evaluations is not None and space.size > evaluations:
        return "evolve"
    if seconds is not None and space.size * build_seconds / builders > seconds / 2:
        return "evolve"
    return "grid"


SWITCHES: Mapping[str, Mapping[str, Any]] = {
    "starts": {"starts": 1},
    "climbs": {"steps": 0},
    "mutations": {"mutations": 0},
    "crossovers": {"crossovers": 0},
    "immigrants": {"immigrants": 0},
    "model": {"model": False},
}
"""Parts of `evolve` by the names under which they are switched off; without starts it begins at the default alone."""


def parts(elites: int, without: Iterable[str]) -> Parts:
    """What `evolve` is made of, without these parts of it; UsageError at a name unknown."""
    found = Parts(elites=elites)
    for name in without:
        if name not in SWITCHES:
            raise UsageError(f"The strategy evolve has no part {name}.", f"It has {', '.join(SWITCHES)}.")
        found = replace(found, **SWITCHES[name])
    return found


def strategy(name: Name, space: Space, seed: int, made_of: Parts | None = None) -> Strategy:
    """The strategy of this name, but for `auto`, which `chosen` resolves; `evolve` is `made_of` these parts.

    Raises UsageError where it needs a package that is missing.
    """
    if name == "grid":
        return grid(space, seed)
    if name == "random":
        return by_chance(space, seed)
    if name == "local":
        return Evolve(space, seed, Parts(mutations=0, crossovers=0, model=False))
    if name == "tpe":
        from pytest_kgate.search.strategies.tpe import Tpe  # imports Optuna

        return Tpe(space, seed)
    if name == "evolve":
        return Evolve(space, seed, made_of)
    raise ValueError(f"no strategy {name}")
