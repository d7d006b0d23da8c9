"""A mutant: a kernel that is wrong in one known way, with which a problem's check is tested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Mutant:
    """One wrong kernel, made from a right one; it may keep state, so that it serves for one test of one problem."""

    name: str
    """What is wrong, in a few words."""
    call: Callable[[tuple[Any, ...]], Tensor]
    """Its answer to the inputs."""
    idle: bool = False
    """Whether it never looks at its inputs: it must die even where its answer happens to be right."""
