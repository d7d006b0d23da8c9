"""Which kernels a test will ask for under other knobs, from what it asked for under some. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

from pytest_kgate.search.space.configuration import Configuration


@dataclass(frozen=True)
class Build:
    """One kernel: a source and its compile-time constants."""

    source: str
    knobs: tuple[tuple[str, int], ...]
    arch: str | None
    debug: bool
    confined_seconds: float | None = None
    """What a source that is not trusted may take to compile, confined; None for one that is trusted."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Build:
        """Read an entry of `builds` in an answer of `kgate evaluate`."""
        knobs = tuple(sorted(facts["knobs"].items()))
        return cls(facts["source"], knobs, facts["arch"], facts["debug"], facts["confined_seconds"])


def foresee(seen: Configuration, builds: Sequence[Build], wanted: Configuration) -> list[Build]:
    """The builds under `wanted`, of a test that asked for `builds` under `seen`.

    A constant that was that of the configuration is taken to follow it; whoever acts on this compares it with what the
    test does ask for then.
    """
    before, after = seen.as_dict(), wanted.as_dict()

    def value(name: str, was: int) -> int:
        new = after.get(name, was)
        return int(new) if name in before and before[name] == was and isinstance(new, int) else was

    changed = [replace(one, knobs=tuple((name, value(name, was)) for name, was in one.knobs)) for one in builds]
    return list(dict.fromkeys(changed))
