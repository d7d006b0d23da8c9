"""What a record says of how its call was asked for, and of the seeds that repeat it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Annotated
from typing import TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired  # typing has it from Python 3.11 on


class KnobFacts(TypedDict):
    """One knob of a test's kernels or of its fixture `knobs`."""

    value: int | float | str | bool
    source: str
    """Who set it: `--kgate-knob`, `KGATE_KNOB`, `ini`, `--kgate-sweep`, `champion`, `default` for that of the
    kernel's source, or `first value` of those in the search marker."""


class AskedFacts(TypedDict):
    """What repeats the call, and who has set its options."""

    command: list[str]
    """The arguments that run its test again, the program first, from the folder in which pytest was started.

    Those that the session was given, with this test in place of the others; without its seed and its file of records.
    Empty for a call of `evaluate`.
    """
    sources: dict[str, str]
    """Who set each option that is not at its default: `--kgate-budget`, `KGATE_BUDGET`, `ini`, `marker`,
    `kbench` or `evaluate`."""
    knobs: NotRequired[dict[str, KnobFacts]]
    """By name, those that a search marker has or that were set for the run. What a test itself writes is in the
    candidate's facts alone."""


class AgainstFacts(TypedDict):
    """What the candidate was at another revision, which is the reference of this record."""

    revision: str
    """As the user named it: `origin/main`."""
    commit: str | None
    """Its whole hash; null where the source is in no repository."""
    margin: Annotated[float, "> 0", "< 1"]
    """How much slower the candidate may be, as a share: 0.01."""
    same: bool
    """Whether it is the very build of the candidate, or of the same files of Python: there was nothing to race."""
    source_hash: str | None
    """Of the old source and its headers, or modules of Python; null where it can't be had."""
    lacking: list[str]
    """Knobs that were chosen for the candidate, and that the old source does not have."""


Seed = int | Annotated[str, "pattern ^[0-9a-f]{32}$"]
"""An integer that a user gave, or 32 hexadecimal digits."""


class SeedsFacts(TypedDict):
    """What all that is drawn in a call follows from."""

    book: NotRequired[Annotated[int, ">= 2"]]
    """Version of the way in which all else is drawn from these; 1 where it is missing."""
    session: Seed
    """Of --kgate-seed, or drawn for this call: then 32 hexadecimal digits."""
    race: Seed
    """Of this call's inputs, order and resamples."""
