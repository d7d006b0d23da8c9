"""A space as a marker writes it: lists of values by knob, and texts of constraints. No device is asked yet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from pytest_kgate.search.space.configuration import Value
from pytest_kgate.search.space.device_facts import FACTS
from pytest_kgate.search.space.space import Space


def read_space(macro: object, micro: object, where: object) -> Space:
    """The space, whose facts have names and no values yet; ValueError or `UsageError` for what makes no sense."""
    if not isinstance(where, list | tuple) or not all(isinstance(one, str) for one in where):
        raise ValueError(f"where must be a list of constraints, such as ['STAGES <= 3'], not {where!r}")
    return Space(
        _knobs("macro", macro), _knobs("micro", micro), tuple(where), MappingProxyType(dict.fromkeys(FACTS, 0))
    )


def _knobs(part: str, given: object) -> Mapping[str, tuple[Value, ...]]:
    if given is None:
        return MappingProxyType({})
    if not isinstance(given, Mapping):
        raise ValueError(f"{part} must be a dict of knobs, such as {{'STAGES': [2, 3]}}, not {given!r}")
    return MappingProxyType({_name(part, name): _values(name, values) for name, values in given.items()})


def _name(part: str, name: object) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"{part} has {name!r} for a knob's name; write a name as in C, such as 'STAGES'")
    if name in FACTS:
        raise ValueError(f"the knob {name} has the name of a fact of the device ({FACTS[name]}); rename it")
    return name


def _values(name: str, values: object) -> tuple[Value, ...]:
    if not isinstance(values, list | tuple | range):
        raise ValueError(f"the knob {name} must have a list of values, such as [2, 3], not {values!r}")
    for value in values:
        if not isinstance(value, int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"the knob {name} has the value {value!r}; values are numbers, text, True or False")
    return tuple(values)
