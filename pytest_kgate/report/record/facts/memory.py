"""What a record says of the memory of a call."""

from __future__ import annotations

from typing import Annotated
from typing import TypedDict

Bytes = Annotated[int, ">= 0"]


class MemoryFacts(TypedDict):
    """What a call was to hold at once, as it was planned before the candidate ran, and what comfort it gave up."""

    inputs_bytes: Bytes
    """Of one draw."""
    outputs_bytes: Bytes
    """Of one answer."""
    exact_bytes: Bytes
    """Of the exact answer, as it is kept to be compared with."""
    reference_bytes: Bytes
    """What a call of the reference took besides its inputs and outputs; 0 on the host, where that is not measured."""
    available_bytes: Bytes | None
    """Free when the call began; null where the device does not tell."""
    needed_bytes: dict[str, Bytes]
    """Held at once in each step, at least: `check`, `race`, `verify` (of timed launches), `watch` (for memories)."""
    given_up: list[str]
    """What lay in the host's memory because a GPU had no room for it: `exact answers`, `answers of timed launches`."""
