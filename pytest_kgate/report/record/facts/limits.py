"""What a record says of limits: demands on anything but the latency ratio and the answers' error."""

from __future__ import annotations

from typing import Literal
from typing import TypedDict

from pytest_kgate.statistics.gate_facts import IntervalFacts

LimitKind = Literal["resources", "speed_of_light", "metrics"]
"""The marker that sets the limit."""

LimitSense = Literal["<=", ">="]
"""How the value must stand to the bound."""

LimitVerdict = Literal["PASS", "FAIL", "INCONCLUSIVE", "NOT MEASURED"]
"""Of one limit."""


class LimitFacts(TypedDict):
    """The judgement on one limit."""

    kind: LimitKind
    """The marker that set it."""
    name: str
    """What is limited: `registers`, `shared_kib`, `tensor`, a name of Nsight Compute's, `speed_of_light`."""
    sense: LimitSense
    """`<=`: the bound is the most that is allowed. `>=`: it is the least."""
    bound: float
    """In `unit`."""
    unit: str
    """`registers`, `KiB`, `bytes`, `blocks`, `%`, or `x`: times the bytes of the problem itself."""
    value: float | None
    """In `unit`; null where it was not measured."""
    interval: IntervalFacts | None
    """Of the value, where it has one."""
    kernel: str
    """Which of the candidate's kernels decides; empty where the value is of the whole call."""
    verdict: LimitVerdict
    """The outcome of this limit alone."""
    reason: str
    """Why it did not pass, in one sentence; empty on PASS."""
