"""Values as records write them: in JSON's own types, and times with their zone."""

from __future__ import annotations

import datetime
import enum
import math
from collections.abc import Mapping
from typing import Any


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
