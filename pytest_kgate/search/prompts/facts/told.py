"""What a prompt may tell: all that templates are given. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_kgate.search.prompts.facts.candidate import Candidate
    from pytest_kgate.search.prompts.facts.task import Task


@dataclass(frozen=True)
class Difference:
    """What one candidate changes of another."""

    before: str
    """Its id."""
    after: str
    text: str


@dataclass(frozen=True)
class Told:
    """Everything that a prompt may tell; templates are given this and nothing else."""

    task: Task
    best: Candidate | None
    """The champion, or the fastest estimate; None while nothing was right."""
    elites: tuple[Candidate, ...] = ()
    """The best few, best first."""
    tried: tuple[Candidate, ...] = ()
    """All that are known, the latest first."""
    parents: tuple[Candidate, ...] = ()
    """None for a free prompt, one to change, two to cross; each with its source."""
    suffix: str = ".cu"
    """Of the sources that are asked for."""
    seeds: frozenset[str] = field(default_factory=frozenset)
    """That no prompt may show."""
