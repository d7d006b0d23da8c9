"""One thing that was looked at on a machine, and what it costs a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What was found of one property of the machine."""

    about: str
    """`persistence`, `CPU quota`."""
    level: Literal["ok", "costs", "unfit"]
    """`costs`: gates can be judged, at a price. `unfit`: their verdicts would be INVALID, wrong, or none at all."""
    found: str
    """What is the case, in half a sentence."""
    cost: str = ""
    """What that does to a verdict; empty where it does nothing."""
    todo: str = ""
    """What whoever may change the machine can do about it."""
