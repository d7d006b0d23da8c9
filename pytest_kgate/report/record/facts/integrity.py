"""What a record says of the checks that look for cheats, and of a candidate in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Annotated
from typing import Literal
from typing import TypedDict

from pytest_kgate.statistics.gate_facts import Number

if TYPE_CHECKING:
    from typing_extensions import NotRequired  # typing has it from Python 3.11 on


class FindingFacts(TypedDict):
    """One thing that was found."""

    check: str
    """The name of the check that found it."""
    reason: str
    """What it found, in a sentence."""


class CleanFacts(TypedDict):
    """What was looked at once more in a clean process, which runs nothing of the candidate."""

    done: bool
    """Whether it could be; else `why` says why not."""
    why: NotRequired[str]
    """One clause."""
    imports_candidate: NotRequired[bool]
    """Whether that process did import the candidate's module, since the problem can't be had without it, and only never
    called the candidate."""
    answers: NotRequired[Annotated[int, ">= 0"]]
    """Answers of the candidate that were compared there with exact ones, computed there."""
    slowed: NotRequired[Number]
    """How many times as long the reference takes in the tests' process, timed in turn here and there."""
    charged: NotRequired[Annotated[float, ">= 1"]]
    """That, less a margin, where it is beyond their noise; else 1. The gates must hold with ratios times this."""
    pairs: NotRequired[Annotated[int, ">= 0"]]
    """Rounds that were timed here and there; 0 where `untimed` says why not."""
    untimed: NotRequired[str]
    """One clause."""
    reference_seconds: NotRequired[Number]
    """Median latency of the reference there."""
    seconds_spent: NotRequired[Annotated[float, ">= 0"]]
    """On all of it, the start of that process included."""


class IntegrityFacts(TypedDict):
    """What was looked at beside the answer."""

    checks: dict[str, str]
    """Each check by name: passed, found, or not run and why. Empty under --kgate-integrity off."""
    findings: list[FindingFacts]
    """In the order in which they were made."""
    kernels: dict[str, Annotated[int, ">= 1"]] | None
    """What one call launches, by name: kernels on a GPU, PyTorch's operators on the host; null where not looked at."""
    host_seconds: float | None
    """What a call costs the host until it returns; null where the timer sees it."""
    floor_seconds: float | None
    """The least that the problem can take on this device; null where that is not known."""
    seconds_spent: Annotated[float, ">= 0"]
    """On all of these checks, without the clean process."""
    clean: NotRequired[CleanFacts]
    """What a clean process said of a gate that would have passed without it."""


class ConfinementFacts(TypedDict):
    """What kept the candidate's process from files and from other processes."""

    landlock: Annotated[int, ">= 0"]
    """The version of Landlock, which allows to write to no file of the user's; 0 where this kernel has none."""
    seccomp: bool
    """Whether system calls that reach other processes, or whose effects last, were refused."""


class IsolationFacts(TypedDict):
    """Under --kgate-isolate: what the process of the candidate was asked to do."""

    confined: ConfinementFacts | bool | None
    """What held for it; null where it was not started. Of the earliest records, whether Landlock held."""
    launched_by: Literal["candidate", "timer"] | None
    """The process that made the timed calls: the candidate's own, or the timer's, which runs none of its host code.

    Null where nothing was timed.
    """
    calls_in_a_row: int | None
    """Calls of one sample, each on values of its own; null where nothing was timed."""
    verified: int
    """Answers of timed calls that were compared with the exact ones."""
    lots: NotRequired[list[int]]
    """The seeds of these calls' inputs; which calls they are was drawn by lot once the calls had been made."""
    reference_slowed: float | None
    """How many times as long the reference took in the race as by itself afterwards: in the mean or the median.

    Null where the candidate could not pass any more.
    """
