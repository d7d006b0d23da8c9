"""One point of a search space: a value for each knob, and how values are written. Pure data."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

Value = int | float | str | bool
"""What a knob may be set to. Kernels take integers; a Python candidate's options may be any of these."""

_PLAIN = re.compile(r'[^\s,="\']+')
"""A word that is taken as it stands."""


@dataclass(frozen=True)
class Configuration:
    """Knobs and their values, in the order of the knobs' names, so that equal ones compare and hash equal."""

    knobs: tuple[tuple[str, Value], ...]
    """(name, value), sorted by name."""

    @classmethod
    def of(cls, knobs: Mapping[str, Value]) -> Configuration:
        """The configuration of these knobs, in whatever order they come."""
        return cls(tuple(sorted(knobs.items())))

    def as_dict(self) -> dict[str, Value]:
        """Name -> value, as a kernel is built with them."""
        return dict(self.knobs)

    @property
    def title(self) -> str:
        """`BLOCK_M=64,STAGES=2`, for tables and messages; its parts are what `--kgate-knob` takes."""
        return ",".join(f"{name}={spell(value)}" for name, value in self.knobs)

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that other knobs or values don't have: BLAKE2b of the knobs as JSON."""
        return hashlib.blake2b(json.dumps(self.knobs).encode(), digest_size=6).hexdigest()


def parse_value(text: str) -> Value:
    """An integer, a decimal number, true or false, or text in double quotes as JSON has it; any other word is text.

    Raises ValueError for nothing at all, and for a word with blanks, commas, equals signs or quotes in it.
    """
    if text in ("True", "False"):
        return text == "True"
    try:
        value = json.loads(text, parse_constant=str)  # NaN and infinities are words
    except ValueError:
        value = text
    if isinstance(value, str) and (value != text or _PLAIN.fullmatch(text)):
        return value
    if isinstance(value, bool | int | float):
        return value
    raise ValueError(text)


def spell(value: Value) -> str:
    """The shortest text that `parse_value` reads as this value."""
    if not isinstance(value, str):
        return json.dumps(value)
    return value if _PLAIN.fullmatch(value) and parse_value(value) == value else json.dumps(value)
