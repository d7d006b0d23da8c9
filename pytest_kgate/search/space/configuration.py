"""One point of a search space: a value for each knob. Pure data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

Value = int | float | str | bool
"""What a knob may be set to."""


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
        """`BLOCK_M=64,STAGES=2`, for tables and messages."""
        return ",".join(f"{name}={value}" for name, value in self.knobs)

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that other knobs or values don't have: BLAKE2b of the knobs as JSON."""
        return hashlib.blake2b(json.dumps(self.knobs).encode(), digest_size=6).hexdigest()
