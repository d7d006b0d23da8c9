"""One setting of a process or of a GPU that changes what is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One setting that a candidate may not leave changed."""

    name: str
    """The name under which its documentation has it."""
    read: Callable[[], Any]
    write: Callable[[Any], Any] | None
    """Restores a value; None where that can't be done, or would not help."""
    may_be_untold: bool = False
    """Whether None says that it could not be read this time, which is no change."""
    harmless: bool = False
    """Whether it has no part in what is measured, and only other tests' work; a change is then a warning."""
    slow: bool = False
    """Whether reading takes milliseconds; it is then compared only after the race, not after each phase."""
