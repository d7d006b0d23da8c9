"""What candidates differ in, as unified diffs of their sources, or as the knobs that changed. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_kgate.search.prompts.facts.candidate import Candidate

_CONTEXT = 3


def difference(before: Candidate, after: Candidate) -> str:
    """What one candidate changes of another, as text; empty where they are alike."""
    if before.source and after.source:
        return source_difference(before.source, after.source, before.id, after.id)
    old, new = _knobs(before.title), _knobs(after.title)
    changed = [f"{name}: {old.get(name, '-')} -> {new.get(name, '-')}" for name in sorted({*old, *new})]
    return "\n".join(line for line in changed if len(set(line.partition(": ")[2].split(" -> "))) == 2)


def source_difference(before: str, after: str, old: str = "before", new: str = "after") -> str:
    """The unified diff of two sources."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), old, new, lineterm="", n=_CONTEXT)
    return "\n".join(lines)


def _knobs(title: str) -> dict[str, str]:
    pairs: Sequence[str] = title.split(",") if "=" in title else ()
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
