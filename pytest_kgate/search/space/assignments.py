"""Values of knobs as a command line, an environment variable or an ini file gives them."""

from __future__ import annotations

import math
import re

from pytest_kgate.errors import UsageError
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.configuration import Value
from pytest_kgate.search.space.configuration import parse_value

Knobs = tuple[tuple[str, Value], ...]
"""Names with a value each, as they were given."""
Sweep = tuple[tuple[str, tuple[Value, ...]], ...]
"""Names with all values that are to be run."""

MOST_SWEPT = 1024
"""Configurations of one sweep, each a test for every test that there was."""

_VALUE = r"""(?:"(?:[^"\\]|\\.)*"|[^\s,="']+)"""
_KNOB = re.compile(rf"[\s,]*([A-Za-z_]\w*)=({_VALUE})(?=[\s,]|$)")
_SWEPT = re.compile(rf"\s*([A-Za-z_]\w*)=({_VALUE}(?:,{_VALUE})*)(?=\s|$)")


def parse_knobs(text: object) -> Knobs:
    """`BLOCK_M=128 STAGES=2`, with blanks or commas between them; ValueError where a name comes twice."""
    return tuple((name, values[0]) for name, values in _assignments(_KNOB, text))


def parse_sweep(text: object) -> Sweep:
    """`BLOCK_M=32,64 STAGES=2,3`: of each knob the values to run; ValueError where a name or a value comes twice.

    Raises `UsageError` where the product is too large to be run one by one.
    """
    found = _assignments(_SWEPT, text)
    count = math.prod(len(values) for _, values in found)
    if count > MOST_SWEPT:
        counts = " * ".join(str(len(values)) for _, values in found)
        raise UsageError(
            f"A sweep over {count:,} configurations ({counts}) is too large; {MOST_SWEPT:,} are the most.",
            "Sweep fewer values, or let `kgate search` choose among them.",
        )
    return found


def configurations(sweep: Sweep) -> list[Configuration]:
    """All configurations of a sweep: the last knob changes fastest."""
    found: list[dict[str, Value]] = [{}]
    for name, values in sweep:
        found = [{**one, name: value} for one in found for value in values]
    return [Configuration.of(one) for one in found]


def _assignments(pattern: re.Pattern[str], text: object) -> Sweep:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(text)
    found: dict[str, tuple[Value, ...]] = {}
    place = 0
    while text[place:].strip():
        match = pattern.match(text, place)
        if match is None or match[1] in found:
            raise ValueError(text)
        values = tuple(parse_value(one) for one in re.findall(_VALUE, match[2]))
        if len(set(values)) < len(values):
            raise ValueError(text)
        found[match[1]] = values
        place = match.end()
    return tuple(found.items())
