"""Strategies by name, and which one suits a space and what may be spent."""

from __future__ import annotations

from typing import Literal

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


def strategy(name: Name, space: Space, seed: int, parts: Parts | None = None) -> Strategy:
    """The strategy of this name, but for `auto`, which `chosen` resolves; `parts` are those of `evolve`.

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
        return Evolve(space, seed, parts)
    raise ValueError(f"no strategy {name}")
