"""What a record says of why the candidate is as fast as it is: findings that rules made of its counters and build."""

from __future__ import annotations

from typing import Annotated
from typing import Literal
from typing import TypedDict

Confidence = Literal["sure", "likely", "maybe"]
"""`sure`: the numbers say it themselves. `likely`: they have this cause nearly always. `maybe`: a usual suspect."""


class InsightFacts(TypedDict):
    """One finding, with the numbers that show it."""

    name: Annotated[str, "length >= 1"]
    """Of the rule that found it: `tensor-bound`, `spills`; docs/profiling.md lists them."""
    finding: str
    """One sentence with the numbers."""
    evidence: dict[str, float]
    """The same numbers by name; percent as 0 to 100, times in seconds, sizes in bytes."""
    confidence: Confidence
    """How far the numbers carry the finding."""
    advice: str
    """What to try next, one or two sentences."""
