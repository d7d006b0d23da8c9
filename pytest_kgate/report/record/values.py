"""Values as records write them: in JSON's own types, and times with their zone; and such JSON read again."""

from __future__ import annotations

import datetime
import enum
import json
import math
from collections.abc import Mapping
from typing import Any

from pytest_kgate.problems.trees.foreign import str_of

_MOST_DIGITS = 40
"""Of a whole number: seeds have 128 bits at most. Longer ones are no float, and take long to read."""

_DEEPEST = 100
"""Levels of a value; records have ten."""


def parsed(text: str) -> Any:
    """What JSON holds; raises `ValueError` where it is none, or holds what two readers could read differently.

    Python's own reader takes `NaN`, makes infinity of `1e999`, and of a name that stands twice keeps the last value,
    where a person takes the first. Each comparison with NaN is false, so that it could be on the right side of any
    bound. `plain` writes none of these.
    """
    return json.loads(
        text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_fraction, parse_int=_whole
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} stands twice in one object")
    return found


def _constant(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _fraction(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:_MOST_DIGITS]} is beyond all numbers")
    return number


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a whole number has {len(digits)} digits")
    return int(digits)


def plain(value: Any) -> Any:
    """The value in JSON's own types, whatever it is: one odd value must neither lose a record nor hold it up.

    Enums become their values, numpy scalars the number inside, and numbers that JSON lacks the strings "NaN",
    "Infinity" and "-Infinity", which `float()` reads back. All else is the text of it.
    """
    return _plain(value, ())


def _plain(value: Any, around: tuple[int, ...]) -> Any:
    """`around` are the ids of what it lies in: what contains itself has an end here, and what never ends."""
    kind = type(value)  # `isinstance` would ask the value, and a mock says what it was told to
    if value is None or (issubclass(kind, (bool, int, str)) and not issubclass(kind, enum.Enum)):
        return value
    if issubclass(kind, float):
        if math.isfinite(value):
            return float(value)
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if id(value) in around or len(around) == _DEEPEST:
        return str_of(value)
    around += (id(value),)
    try:
        if issubclass(kind, enum.Enum):
            return _plain(value.value, around)
        if issubclass(kind, Mapping):
            return {str(_plain(key, around)): _plain(item, around) for key, item in value.items()}
        if issubclass(kind, (list, tuple, set, frozenset)):
            return [_plain(item, around) for item in value]
        if hasattr(kind, "tolist"):  # numpy scalars and arrays
            return _plain(value.tolist(), around)
    except Exception:
        return str_of(value)  # of a class of the user's
    return str_of(value)


def finite(value: float | str | None) -> float | None:
    """A number where it is one, for what has no others, such as JSON and CSV; `value` may be as records write it."""
    if isinstance(value, str):
        value = float(value)
    return value if value is not None and math.isfinite(value) else None


def now() -> str:
    """The time as records write it: ISO 8601 with the zone, to the microsecond."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat()
