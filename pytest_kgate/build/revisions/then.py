"""A candidate as it was at another revision: what it is raced against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Then:
    """What the candidate was in a commit of its repository."""

    called: Callable[..., Any] | None
    """It takes the same arguments; None where it is the same, and was not made once more."""

    name: str
    """For tables: `softmax at 1a2b3c4d5 (origin/main)`."""

    source_hash: str
    """Hex SHA-256 of its files."""

    is_same: bool
    """Whether it is the very candidate of today, of the same files."""

    lacking: tuple[str, ...] = ()
    """Knobs that were chosen for the new kernel, and that the old source does not have."""

    notes: tuple[str, ...] = ()
    """What else the record has to say of it, a sentence each."""
