"""What may be chosen: the values of each knob, and the constraints that a choice must keep. Pure."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.errors import hint
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.configuration import Value
from pytest_kgate.search.space.configuration import spell
from pytest_kgate.search.space.expression import Expression

MOST_COMBINATIONS = 1_000_000
"""Of the values of all knobs: to go through them for those that constraints leave takes seconds, not hours."""

_TRIES = 200
"""At a configuration by chance, before all that are allowed are listed to choose among."""


@dataclass(frozen=True)
class Space:
    """Knobs with their values, and what a configuration of them must keep.

    Raises `UsageError` where a knob has no values or one twice, or is in both parts; where a constraint can't be read
    or names what is neither knob nor fact; and where there are too many combinations to go through.
    """

    macro: Mapping[str, tuple[Value, ...]]
    """Knobs that make another kernel: tiles, a pipeline with or without producer warps. Searches keep these apart."""
    micro: Mapping[str, tuple[Value, ...]]
    """Knobs that tune it: stages, padding. Searches walk along their values."""
    where: tuple[str, ...] = ()
    """Constraints, each an `Expression` over knobs and facts."""
    facts: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))
    """Of the device, by the names that constraints use."""
    defaults: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))
    """What a source has its knobs set to; of knobs that are not in here, the first value is the default."""

    def __post_init__(self) -> None:
        both = [name for name in self.macro if name in self.micro]
        if both:
            raise UsageError(f"The knob {both[0]} is in macro and in micro.", "Leave it in one of them.")
        if not self._values:
            raise UsageError("The space has no knobs.", "Name some: micro={'STAGES': [2, 3]}.")
        for name, values in self._values.items():
            if not values:
                raise UsageError(f"The knob {name} has no values.", f"List some: {name}=[1, 2].")
            twice = [one for place, one in enumerate(values) if one in values[:place]]
            if twice:
                raise UsageError(f"The knob {name} has the value {spell(twice[0])} twice.", "Leave one of them out.")
        if self.combinations > MOST_COMBINATIONS:
            counts = " * ".join(str(len(values)) for values in self._values.values())
            raise UsageError(
                f"The space has {self.combinations:,} combinations ({counts}), more than {MOST_COMBINATIONS:,}.",
                "Leave out values, or knobs.",
            )
        for constraint in self._constraints:
            for name in constraint.names:
                if name not in self._values and name not in self.facts:
                    known = [*self._values, *self.facts]
                    raise UsageError(
                        f"The constraint {constraint.text!r} names {name}, which is neither a knob of the space nor a "
                        f"fact of the device.{hint(name, known)}",
                        f"There are {', '.join(known)}.",
                    )

    @cached_property
    def _values(self) -> dict[str, tuple[Value, ...]]:
        return {**self.macro, **self.micro}

    @cached_property
    def _constraints(self) -> tuple[Expression, ...]:
        return tuple(Expression(text) for text in self.where)

    def written(self) -> dict[str, Any]:
        """Its fields in JSON's own types."""
        return {
            "macro": {name: list(values) for name, values in self.macro.items()},
            "micro": {name: list(values) for name, values in self.micro.items()},
            "where": list(self.where),
            "facts": dict(self.facts),
            "defaults": dict(self.defaults),
        }

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Space:
        """The space that `written` gave."""
        macro, micro = (
            MappingProxyType({name: tuple(values) for name, values in written[part].items()})
            for part in ("macro", "micro")
        )
        return cls(macro, micro, tuple(written["where"]), written["facts"], written["defaults"])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all knobs, the macro ones first."""
        return tuple(self._values)

    def values(self, name: str) -> tuple[Value, ...]:
        """The values that a knob may have, as they were listed."""
        return self._values[name]

    @property
    def combinations(self) -> int:
        """The number of combinations of all values, those that constraints refuse among them."""
        return math.prod(len(values) for values in self._values.values())

    @cached_property
    def size(self) -> int:
        """How many configurations are allowed; counted at the first use, by going through them."""
        return self._count({**self.facts}, 0)

    def __iter__(self) -> Iterator[Configuration]:
        """All that are allowed, always in the same order: the last knob changes fastest."""
        known = {**self.facts}
        for _ in self._allowed(known, 0):
            yield Configuration.of({name: known[name] for name in self._values})

    @cached_property
    def _decided(self) -> list[list[Expression]]:
        """By knob: the constraints of which it is the last knob, in the order of `names`. Without knobs: the first."""
        places = {name: place for place, name in enumerate(self.names)}
        found: list[list[Expression]] = [[] for _ in places]
        for constraint in self._constraints:
            found[max((places[name] for name in constraint.names if name in places), default=0)].append(constraint)
        return found

    def _kept(self, known: dict[str, Value], place: int) -> Iterator[None]:
        """Sets the knob of this place to each value that breaks no constraint, given those before it in `known`."""
        name = self.names[place]
        for value in self._values[name]:
            known[name] = value
            if all(constraint.holds(known) for constraint in self._decided[place]):
                yield

    def _allowed(self, known: dict[str, Value], place: int) -> Iterator[None]:
        """Sets the knobs from this place on, to all that is allowed in turn; what is refused is followed no further."""
        if place == len(self._values):
            yield
            return
        for _ in self._kept(known, place):
            yield from self._allowed(known, place + 1)

    def _count(self, known: dict[str, Value], place: int) -> int:
        """How often `_allowed` yields; values without constraints are multiplied."""
        if not any(self._decided[place:]):
            return math.prod(len(self._values[name]) for name in self.names[place:])
        return sum(self._count(known, place + 1) for _ in self._kept(known, place))

    def refusal(self, configuration: Configuration) -> str | None:
        """Why it is not of the space, in a few words: the constraint that it breaks. None where it is allowed."""
        chosen = configuration.as_dict()
        for name in chosen:
            if name not in self._values:
                return f"{name} is no knob of the space{hint(name, self._values)}"
        for name, values in self._values.items():
            if name not in chosen:
                return f"{name} has no value"
            if chosen[name] not in values:
                return f"{name}={spell(chosen[name])} is not among {', '.join(map(spell, values))}"
        return self.broken(chosen)

    def broken(self, knobs: Mapping[str, Value]) -> str | None:
        """The first constraint that is false of these values, which need not be listed ones; None where all hold."""
        known = {**self.facts, **knobs}
        for constraint in self._constraints:
            if not constraint.holds(known):
                values = ", ".join(f"{name}={spell(known[name])}" for name in constraint.names)
                return f"{constraint.text} is false: {values}"
        return None

    @property
    def facts_asked(self) -> frozenset[str]:
        """Names in constraints that are no knobs."""
        return frozenset(name for one in self._constraints for name in one.names if name not in self._values)

    @cached_property
    def default(self) -> Configuration:
        """What the source has by default, as far as its values are listed; else, or where that is refused, the first.

        Raises `UsageError` where constraints allow nothing at all.
        """
        usual = {
            name: self.defaults[name] if self.defaults.get(name) in values else values[0]
            for name, values in self._values.items()
        }
        chosen = Configuration.of(usual)
        if self.refusal(chosen) is None:
            return chosen
        first = next(iter(self), None)
        if first is None:
            raise UsageError(
                f"None of the space's {self.combinations:,} combinations keeps all constraints; the first one: "
                f"{self.refusal(chosen)}.",
                "Loosen a constraint, or list other values.",
            )
        return first

    def macro_of(self, configuration: Configuration) -> tuple[Value, ...]:
        """The values of the macro knobs, in their order: which of the different kernels it is."""
        chosen = configuration.as_dict()
        return tuple(chosen[name] for name in self.macro)

    def changed(self, configuration: Configuration, **knobs: Value) -> Configuration:
        """The configuration with other values of some knobs; whether that is allowed, `refusal` says."""
        return Configuration.of({**configuration.as_dict(), **knobs})

    def neighbours(self, configuration: Configuration) -> list[Configuration]:
        """Allowed configurations that differ in one micro knob: by one step along its values, text by any other."""
        chosen, found = configuration.as_dict(), []
        for name, values in self.micro.items():
            place = values.index(chosen[name])
            near = [other for other in (place - 1, place + 1) if 0 <= other < len(values)]
            if isinstance(chosen[name], str):
                near = [other for other in range(len(values)) if other != place]
            found += [self.changed(configuration, **{name: values[other]}) for other in near]
        return [one for one in found if self.refusal(one) is None]

    def random(self, rng: random.Random) -> Configuration:
        """One of those that are allowed, each as likely as any other. Raises as `default` where there is none."""
        for _ in range(_TRIES):
            drawn = Configuration.of({name: rng.choice(values) for name, values in self._values.items()})
            if self.refusal(drawn) is None:
                return drawn
        self.default  # noqa: B018 - raises where nothing is allowed
        return next(itertools.islice(self, rng.randrange(self.size), None))
