"""Strategies that learn nothing: all of a space in its own order, or by chance."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.space import Space

_LISTED = 20_000
"""A space of so many combinations is listed and shuffled; a larger one is drawn from, and what comes again left out."""

_TRIES = 1000
"""Draws in a row that were all proposed before, after which a space is taken as exhausted."""


class Listed:
    """Proposes what it is given, one after the other."""

    def __init__(self, configurations: Iterator[Configuration]) -> None:
        self._left = configurations
        self._exhausted = False

    @property
    def exhausted(self) -> bool:
        """Whether all of it was proposed."""
        return self._exhausted

    def ask(self, count: int) -> list[Configuration]:
        """Propose the next ones; it waits for no trial."""
        found = list(itertools.islice(self._left, count))
        self._exhausted = self._exhausted or len(found) < count
        return found

    def tell(self, trial: Trial) -> None:
        """Learn nothing."""

    def parents(self, configuration: Configuration) -> tuple[Configuration, ...]:
        """None: nothing is made of another one."""
        return ()


def grid(space: Space, seed: int) -> Listed:
    """The whole space, the default first and the rest in an order by chance, so that a part of it is a fair sample."""
    return Listed(_shuffled(space, seed))


def by_chance(space: Space, seed: int) -> Listed:
    """Configurations by chance, none twice."""
    return Listed(_shuffled(space, seed) if space.combinations <= _LISTED else _drawn(space, seed))


def _shuffled(space: Space, seed: int) -> Iterator[Configuration]:
    rest = [one for one in space if one != space.default]
    random.Random(seed).shuffle(rest)
    return iter([space.default, *rest])


def _drawn(space: Space, seed: int) -> Iterator[Configuration]:
    rng = random.Random(seed)
    seen = {space.default}
    yield space.default
    while True:
        one = next((one for _ in range(_TRIES) if (one := space.random(rng)) not in seen), None)
        if one is None:
            return
        seen.add(one)
        yield one
