"""What `kgate evaluate` prints: one JSON object, whatever came of the candidate.

evaluation.schema.json beside this file is made of these classes: `python tests/support/record_schema.py` writes it.
"""

from __future__ import annotations

from typing import Annotated
from typing import Literal
from typing import TypedDict

from pytest_kgate.report.record.record import KernelFacts
from pytest_kgate.report.record.record import Record
from pytest_kgate.report.record.record import RecordVerdict

SCHEMA: Schema = "pytest-kgate/evaluation"
VERSION: Version = 1

Schema = Literal["pytest-kgate/evaluation"]
Version = Literal[1]

Stage = Literal["build", "check", "time"]
"""A step of a call: compiling or importing the candidate, comparing its answers, racing it."""


class Ratio(TypedDict):
    """Candidate latency over reference latency, with its interval."""

    estimate: Annotated[float, "> 0"]
    low: Annotated[float, "> 0"]
    """The interval's lower end."""
    high: Annotated[float, "> 0"]
    """The interval's upper end."""
    confidence: Annotated[float, "> 0", "< 1"]
    """Two-sided level of the interval."""
    bound: Annotated[float, "> 0"] | None
    """What the ratio had to be below; null where nothing was demanded."""


class BuildFacts(TypedDict):
    """A kernel that the test has asked for."""

    source: str
    """The path of its source."""
    knobs: dict[str, int]
    """Compile-time constants that the test has chosen."""
    arch: str | None
    """The architecture that --kgate-arch names; null for the device's own."""
    debug: bool
    """Whether it was built with what it asserts on the device."""
    confined_seconds: float | None
    """What a source that is not trusted may take to compile, confined; null for one that is trusted."""


class SearchFacts(TypedDict):
    """What a test's search marker spans, here."""

    macro: dict[str, list[int | float | str | bool]]
    """Values of each knob that makes another kernel."""
    micro: dict[str, list[int | float | str | bool]]
    """Values of each knob that tunes it."""
    where: list[str]
    """Constraints."""
    facts: dict[str, int | float | str | bool]
    """Of the device, as far as constraints ask for them."""
    defaults: dict[str, int | float | str | bool]
    """Of the knobs, in the source."""
    root: str
    """pytest's root folder, which has the file of champions."""


class Evaluation(TypedDict):
    """The outcome of one `kgate evaluate`."""

    schema: Schema
    """What kind of object this is."""
    version: Version
    """Of its layout."""
    verdict: RecordVerdict | Literal["MISUSE", "BUSY"]
    """As in records, the worst of the test's calls.

    ERROR also where the candidate crashed, hung or ended the process. MISUSE: the candidate was not judged, and it is
    not at fault (no such test or file, a test without `kbench`, no GPU, a problem that fails). BUSY: another process
    kept the device.
    """
    passed: bool
    """Whether the test passed with it."""
    stage: Stage | None
    """The last step that the deciding call came to; null where none had begun."""
    score: Annotated[float, ">= 0"]
    """One over the upper end of the ratio's interval, where all answers are right and all calls were timed: how many
    times as fast as the reference it is at least. The least of the test's calls. Else 0."""
    ratio: Ratio | None
    """Of the deciding call's median latency; null where it was not timed."""
    feedback: str
    """For who writes the next kernel: what is wrong and where, the compiler's first errors, how slow and why."""
    resources: list[KernelFacts]
    """What ptxas reports of the deciding call's candidate, where that was compiled."""
    record: Record | None
    """Of the deciding call; null where none has ended."""
    records: list[Record]
    """Of all calls that have ended, in their order."""
    builds: list[BuildFacts]
    """The kernels that the tests have asked for, in their order, the same one each time."""
    searches: list[SearchFacts]
    """What the tests' search markers say, one for each test that asks for its knobs."""
    speed_gates: list[Annotated[int, ">= 0"]]
    """How many gates each call has on its latency ratio, in their order; 0 where its test demands no speed."""
