"""What a record says of the runs under compute-sanitizer that a `sanitize` marker asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Annotated
from typing import Literal
from typing import TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired  # typing has it from Python 3.11 on

Index = Annotated[list[Annotated[int, ">= 0"]], "length 3"] | None
"""x, y, z; null where the tool does not say."""

SanitizerVerdict = Literal["PASS", "FAIL", "ERROR", "SKIP"]
"""FAIL: a tool found something. ERROR: it could not look to the end. SKIP: it could not look at all."""

Severity = Literal["error", "warning", "info"]
"""Of a finding, as racecheck grades it; the other tools find errors only."""

Tool = Literal["memcheck", "racecheck", "initcheck", "synccheck"]
"""Of compute-sanitizer."""


class FrameFacts(TypedDict):
    """A line of code that an access came from."""

    access: NotRequired[str]
    """`Read` or `Write`, in a race."""
    function: str
    """Demangled."""
    file: str | None
    """Null where the code was built without -lineinfo."""
    line: int | None
    """Of the file, from 1."""


class ToolFindingFacts(TypedDict):
    """One error that a tool reports."""

    message: str
    """`Invalid __global__ write of size 2 bytes`."""
    severity: Severity
    """As racecheck grades it."""
    kernel: str | None
    """Demangled; null for what the host did."""
    file: str | None
    """Null where the code was built without -lineinfo."""
    line: int | None
    """Of the file, from 1."""
    frames: NotRequired[list[FrameFacts]]
    """Functions that were inlined into the kernel, innermost first, then the kernel."""
    others: NotRequired[list[FrameFacts]]
    """The accesses that a race is with."""
    thread: Index
    """In the block."""
    block: Index
    """In the grid."""
    address: str | None
    """Hexadecimal."""
    details: NotRequired[list[str]]
    """What the tool adds, such as the nearest allocation."""


class LaunchedFacts(TypedDict):
    """One kbench call that ran under the tool."""

    candidate: str
    """Its name."""
    problem: str
    """Its name."""


class ToolRunFacts(TypedDict):
    """What one tool says of the test."""

    tool: Tool
    """Its name."""
    version: str
    """Of compute-sanitizer."""
    verdict: SanitizerVerdict
    """Of this tool."""
    reason: str
    """The first finding, or why it could not look; empty on PASS."""
    seconds: Annotated[float, ">= 0"]
    """Of the process under the tool."""
    errors: Annotated[int, ">= 0"]
    """All of them."""
    warnings: Annotated[int, ">= 0"]
    """Racecheck's; they fail nothing."""
    findings: list[ToolFindingFacts]
    """The first few."""
    launched: list[LaunchedFacts]
    """What ran under the tool, one entry for each kbench call of the test."""


class SanitizerFacts(TypedDict):
    """What compute-sanitizer found in the test's kernels, before the check."""

    verdict: SanitizerVerdict
    """The worst of the tools."""
    reason: str
    """The first finding; empty on PASS."""
    required: NotRequired[bool]
    """Of --kgate-require-sanitizer."""
    runs: list[ToolRunFacts]
    """One for each tool."""
