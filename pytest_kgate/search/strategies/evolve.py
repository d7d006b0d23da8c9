"""Starts spread over the macro variants, climbs from the best, and variants of what can't be climbed any further.

1. Starts: the default, and configurations whose macro variants differ from one another in as many knobs as possible.
2. Climbs: each elite proposes a neighbour, one step of one micro knob away. Where that is better it takes the elite's
   place, and climbs on from there: first improvement, for several elites side by side.
3. Each elite proposes mutations of itself as well: other values of one to three knobs of any kind.
4. An elite all of whose neighbours are known is a local optimum. Then there are crossovers, too, knobs of it and of
   another elite mixed, and an immigrant from a macro variant that was tried least.

Elites are of distinct macro variants, as far as there are any. Half of each generation is chosen by a model, from many
more such offspring than are evaluated: it learns from all candidates what the elites alone don't show. The other half
is not, since a model can be wrong for long. Each part can be switched off, to see what it gives.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace
from typing import TypeAlias

from pytest_kgate.search.policy.elites import Elites
from pytest_kgate.search.policy.elites import score
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.configuration import Value
from pytest_kgate.search.space.space import Space

_TRIES = 50
"""At a variant that is allowed and was not proposed before."""

_POOL = 200
"""Configurations by chance, of which the starts are chosen."""

_LISTED = 20_000
"""A space of so many combinations is gone through for what was not proposed, where chance finds nothing."""

_FEWEST_TO_MODEL = 4
"""Candidates that were raced, before a model of them says anything."""

_MORE = 8
"""Times as many offspring are thought of as are proposed without a model."""

_ALL = 1000
"""Neighbours: more than any configuration has."""

_KNOBS_CHANGED = (1, 1, 2, 3)
"""By a mutation: mostly one, for of several changes together one is likely to spoil the others."""


_Made: TypeAlias = "tuple[Configuration, tuple[Configuration, ...]]"
"""A candidate, and those that it was made of."""

_Offspring: TypeAlias = "dict[Configuration, tuple[Configuration, ...]]"

_NOBODY: tuple[Configuration, ...] = ()
"""Starts and immigrants come from."""


@dataclass(frozen=True)
class Parts:
    """What the strategy is made of; 0 or False switches a part off."""

    starts: int = 8
    elites: int = 4
    steps: int = 1
    """Of each elite's climb, in each generation."""
    mutations: int = 2
    """Variants of each elite."""
    crossovers: int = 1
    """Of each elite that is a local optimum with another."""
    immigrants: int = 1
    """Where there is such an elite."""
    model: bool = True
    """Whether half of a generation is chosen by a model, from many more of all these."""
    generation: int = 8
    """Candidates that are proposed before the model learns what became of them."""


class Evolve:
    """Generations of candidates, each made of what the ones before have shown."""

    def __init__(self, space: Space, seed: int, parts: Parts | None = None) -> None:
        from pytest_kgate.search.strategies.surrogate import Surrogate  # here, since every verb's --help would pay

        self._space = space
        self._rng = random.Random(seed)
        self._parts = parts or Parts()
        self._elites = Elites(self._parts.elites, space.macro_of)
        self._macros = Counter[tuple[Value, ...]]()
        self._parents: dict[Configuration, tuple[Configuration, ...]] = {}
        """Of all that was proposed."""
        self._waiting: set[Configuration] = set()
        self._scores: dict[Configuration, float] = {}
        self._model = Surrogate(space)
        self._starts = list(self._spread())
        self._exhausted = False

    @property
    def exhausted(self) -> bool:
        """Whether none of its parts finds anything new."""
        return self._exhausted

    def ask(self, count: int) -> list[Configuration]:
        """The next generation, or what of it fits; none while trials of the last one are missing."""
        if self._waiting or not count:
            return []
        if self._starts:
            begun, self._starts = self._starts[:count], self._starts[count:]
            found = dict.fromkeys(begun, _NOBODY)
        else:
            found = self._generation(count)
        self._parents.update(found)
        self._waiting.update(found)
        self._macros.update(self._space.macro_of(one) for one in found)
        self._exhausted = not found
        return list(found)

    def tell(self, trial: Trial) -> None:
        """Learn what became of a candidate."""
        self._waiting.discard(trial.configuration)
        self._elites = self._elites.with_trial(trial)
        self._scores[trial.configuration] = score(trial)

    def parents(self, configuration: Configuration) -> tuple[Configuration, ...]:
        """The elite that it is a variant of, or the two that were crossed; nothing of starts and immigrants."""
        return self._parents.get(configuration, _NOBODY)

    def _generation(self, count: int) -> _Offspring:
        """The next candidates: some as the elites stand, and of many offspring those that the model thinks most of."""
        parts = self._parts
        known = [one for one, found in self._scores.items() if math.isfinite(found)]
        if not parts.model or len(known) < _FEWEST_TO_MODEL:
            return self._first(parts, count)
        size = min(count, parts.generation)
        few = self._first(parts, size // 2)
        more = replace(
            parts,
            steps=_ALL if parts.steps else 0,
            mutations=_MORE * parts.mutations,
            crossovers=_MORE * parts.crossovers,
            immigrants=_MORE * parts.immigrants,
        )
        pool: _Offspring = {}
        for one, parents in self._offspring(more):
            if one not in few:
                pool.setdefault(one, parents)
        best = self._model.best(self._scores, list(pool), size - len(few)) if pool else []
        return {**few, **{one: pool[one] for one in best}}

    def _first(self, parts: Parts, count: int) -> _Offspring:
        """The first of the elites' offspring."""
        found: _Offspring = {}
        for one, parents in self._offspring(parts):
            if len(found) >= count:
                break
            found.setdefault(one, parents)
        return found

    def _offspring(self, parts: Parts) -> Iterator[_Made]:
        """Of each elite, best first; some twice."""
        at_rest = not self._elites.trials
        for elite in self._elites.trials:
            one = elite.configuration
            steps = [near for near in self._space.neighbours(one) if near not in self._parents]
            yield from ((near, (one,)) for near in self._rng.sample(steps, min(parts.steps, len(steps))))
            for _ in range(parts.mutations):
                yield from self._new(self._mutant, one)
            if not steps:
                at_rest = True
                for _ in range(parts.crossovers):
                    yield from self._new(self._child, one)
        if at_rest:
            for _ in range(parts.immigrants):
                yield from self._immigrant()

    def _new(self, vary: Callable[[Configuration], _Made], one: Configuration) -> Iterator[_Made]:
        """A variant that is allowed and was not proposed before, if one is found."""
        for _ in range(_TRIES):
            made = vary(one)
            if made[0] not in self._parents and self._space.refusal(made[0]) is None:
                yield made
                return

    def _mutant(self, one: Configuration) -> _Made:
        """One to three knobs changed."""
        space, rng = self._space, self._rng
        names = [name for name in space.names if len(space.values(name)) > 1]
        changed = rng.sample(names, min(len(names), rng.choice(_KNOBS_CHANGED)))
        known = one.as_dict()
        values = {name: rng.choice([value for value in space.values(name) if value != known[name]]) for name in changed}
        return space.changed(one, **values), (one,)

    def _child(self, one: Configuration) -> _Made:
        """Each knob from either of two elites."""
        others = [elite.configuration for elite in self._elites.trials if elite.configuration != one]
        if not others:
            return one, (one,)
        other = self._rng.choice(others)
        taken = {name: value for name, value in other.knobs if self._rng.random() < 0.5}
        return self._space.changed(one, **taken), (one, other)

    def _immigrant(self) -> Iterator[_Made]:
        """Of some drawn by chance, one whose macro variant was proposed least."""
        drawn = [one for _ in range(_TRIES) if (one := self._space.random(self._rng)) not in self._parents]
        if not drawn and self._space.combinations <= _LISTED:
            drawn = [one for one in self._space if one not in self._parents]
        if drawn:
            yield min(drawn, key=lambda one: self._macros[self._space.macro_of(one)]), _NOBODY

    def _spread(self) -> Iterator[Configuration]:
        """The default, then again and again the one of many drawn that is farthest from all before."""
        chosen = [self._space.default]
        yield chosen[0]
        pool = list(dict.fromkeys(self._space.random(self._rng) for _ in range(_POOL)))
        while len(chosen) < self._parts.starts and pool:
            farthest = max(pool, key=lambda one: min(self._distance(one, other) for other in chosen))
            pool.remove(farthest)
            if farthest not in chosen:
                chosen.append(farthest)
                yield farthest

    def _distance(self, one: Configuration, other: Configuration) -> tuple[int, int]:
        """In how many macro knobs two configurations differ, then in how many of all."""
        macros = zip(self._space.macro_of(one), self._space.macro_of(other), strict=True)
        return sum(a != b for a, b in macros), sum(a != b for a, b in zip(one.knobs, other.knobs, strict=True))
