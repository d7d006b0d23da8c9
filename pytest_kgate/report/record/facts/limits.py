"""What a record says of limits: demands on anything but the latency ratio and the answers' error."""

from __future__ import annotations

from typing import Annotated
from typing import Literal
from typing import TypedDict

from pytest_kgate.statistics.gate_facts import IntervalFacts

LimitKind = Literal["resources", "speed_of_light", "metrics", "regression"]
"""The marker that sets the limit; `regression` where the race against the other revision could not be run."""

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


class RooflineFacts(TypedDict):
    """The least latency of the problem by the rates that its device was seen to attain.

    It is no bound on what hardware can do: `integrity` has one.
    """

    floor_seconds: Annotated[float, "> 0"]
    """The larger of FLOPs over the rate of large products of their type, and bytes over the rate of a copy."""
    set_by: Literal["flops", "bytes"]
    """Whichever takes longer."""
    demand: str
    """As text: `1.1e+12 FLOPs at 7.1e+14 a second (float16)`."""
    from_cache: bool
    """Whether the bytes set it, at the rate of a copy within the caches."""
    left_out: str
    """Why the problem's FLOPs do not count; empty where they do, or where it states none."""
    measured: Annotated[str, "format date-time"]
    """When the rates were."""
