"""What a record says of the hardware counters that Nsight Compute read while the arms ran, outside the race.

Values are in base units: bytes, seconds, hertz, cycles, percent as 0 to 100, plain counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Annotated
from typing import Literal
from typing import TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired  # typing has it from Python 3.11 on

Seconds = Annotated[float, ">= 0"]

Extent = Annotated[int, ">= 1"]

CountersState = Literal["measured", "not measured"]


class LaunchCounters(TypedDict):
    """One launch of a kernel."""

    kernel: str
    """Its name, as Nsight Compute writes it."""
    grid: Annotated[list[Extent], "length 3"]
    """Blocks in x, y, z."""
    block: Annotated[list[Extent], "length 3"]
    """Threads in x, y, z."""
    metrics: dict[str, float]
    """By Nsight Compute's own names; those that it could not measure are left out."""


class MetricFacts(TypedDict):
    """One metric over all launches of a call."""

    value: float
    """In `unit`."""
    unit: str
    """`%`, `bytes`, `seconds`, `hertz`, `cycles`, or what is counted; empty for a plain number."""
    raw: str
    """What it is made of, in Nsight Compute's names on this GPU: one, or a sum or quotient of several."""


class ArmCounters(TypedDict):
    """One call of the candidate, or of the reference."""

    launches: Annotated[list[LaunchCounters], "length <= 16"]
    """The first of them, in order."""
    launch_count: Annotated[int, ">= 0"]
    """All of them."""
    metrics: dict[str, MetricFacts]
    """By short name, over all launches; `kgate metrics` says what each means and how launches are combined."""


class CollectionPhases(TypedDict):
    """Where the seconds of a collection went, one after the other, in the process that all its tests share."""

    start: Seconds
    """Until pytest is there: the tool, Python, plugins."""
    collection: Seconds
    """The files of the tests imported, PyTorch with them."""
    preparation: Seconds
    """Inputs drawn, kernels loaded, calls that warm up, references compared."""
    counting: Seconds
    """The calls that the tool looked at, in all their passes."""
    end: Seconds
    """Behind the last test: the report written, the processes ended."""
    reading: Seconds
    """The report read."""
    passes: NotRequired[Annotated[int, ">= 1"]]
    """In which all launches were run, a launch being repeated for counters that don't fit in one; where the tool says
    it, which it does where the package `ncu-report` reads the report."""


class CountersFacts(TypedDict):
    """The hardware counters of both arms, or why there are none."""

    state: CountersState
    """Whether there are any."""
    reason: str
    """Why there are none, and what to do about it; empty where there are."""
    tool: str
    """`ncu 2025.3.1`; empty where none was found."""
    replay: str
    """How a launch was repeated for counters that can't be read at once: `kernel` or `application`."""
    cache_control: str
    """`all`: caches are emptied before each pass; `none`: they are as the launch before left them."""
    clock_control: str
    """`none`: clocks as in the race; `base`: held at the base clock."""
    seconds: Seconds
    """That the collection took, for all tests that shared it."""
    phases: NotRequired[CollectionPhases]
    """Where these seconds went."""
    sections: list[str]
    """Of Nsight Compute, that were collected besides the metrics of the table."""
    report: str | None
    """The file for Nsight Compute's own window; null where it was not kept."""
    candidate: ArmCounters | None
    """What is judged; null where it was not measured."""
    reference: ArmCounters | None
    """For comparison; null where it was not measured."""
