"""Numbers in sentences: in the reasons of verdicts, and in all that is reported. Pure, and without imports.

A number may be as a record writes it where JSON has no word for it: "Infinity" or "NaN".
"""

from __future__ import annotations

import math

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def significant(value: float | str, digits: int = 3) -> str:
    """The value with so many significant digits, never in exponent notation; whole above 10**digits."""
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    before_point = math.floor(math.log10(abs(value))) + 1
    text = f"{value:.{max(0, digits - before_point)}f}"
    # 9.996 rounds up to one digit more before the point
    if math.floor(math.log10(abs(float(text)))) + 1 > before_point:
        text = f"{value:.{max(0, digits - before_point - 1)}f}"
    return text


def seconds(value: float | str, signed: bool = False, digits: int = 3) -> str:
    """A duration with its unit and so many significant digits: `9.21 us`."""
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    sign = "-" if value < 0 else "+" if signed and value > 0 else ""
    value = abs(value)
    if value == 0:
        return "0 s"
    # 0.9995 of a unit is shown as 1.00 of it, not as 1000 of the next smaller one
    unit, name = next((entry for entry in _UNITS if value >= 0.9995 * entry[0]), _UNITS[-1])
    return f"{sign}{significant(value / unit, digits)} {name}"


def percent(fraction: float | str, signed: bool = False) -> str:
    """A fraction as `8.4 %`, with two significant digits below 10 %."""
    fraction = float(fraction)
    sign = "+" if signed and fraction > 0 else ""
    value = fraction * 100
    digits = 2 if abs(value) < 9.95 else max(2, len(str(abs(round(value))))) if math.isfinite(value) else 0
    return f"{sign}{significant(value, digits)} %"


def counted(count: int, noun: str) -> str:
    """A number of things: `1 round`, `12 rounds`, `3 processes`. For nouns whose plural ends in s or es."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{'es' if noun.endswith('s') else 's'}"
