"""The type of a mutant: a kernel that is wrong in one known way, with which a problem's check is tested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mutant:
    """One wrong kernel, made from a right one. It may keep state between calls: each test of a check makes its own."""

    name: str
    """What is wrong, in a few words."""
    call: Callable[[tuple[Any, ...]], Any]
    """From a call's inputs to the mutant's answer."""
    idle: bool = False
    """Whether it never reads its inputs. The check must find it even where its answer happens to be right."""
