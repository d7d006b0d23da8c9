"""Values as records write them: in JSON's own types, and times with their zone; and such JSON read again."""

from __future__ import annotations

import datetime
import enum
import json
import math
from collections.abc import Mapping
from typing import Any

_MOST_DIGITS = 40
"""Of a whole number: seeds have 128 bits at most. Longer ones are no float, and take long to read."""


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
    """The value in JSON's own types, whatever it is: one odd value must not lose a record.

    Enums become their values, numpy scalars the number inside, and numbers that JSON lacks the strings "NaN",
    "Infinity" and "-Infinity", which `float()` reads back.
    """
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    return str(value)


def finite(value: float | str | None) -> float | None:
    """A number where it is one, for what has no others, such as JSON and CSV; `value` may be as records write it."""
    if isinstance(value, str):
        value = float(value)
    return value if value is not None and math.isfinite(value) else None


def now() -> str:
    """The time as records write it: ISO 8601 with the zone, to the microsecond."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat()
