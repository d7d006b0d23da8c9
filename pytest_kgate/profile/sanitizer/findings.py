"""What a tool of compute-sanitizer found: each finding, where and by whom, and how many there are."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.sanitizer import Severity
    from pytest_kgate.report.record.facts.sanitizer import ToolFindingFacts

_ADDRESS_WITHIN = re.compile(r"\b0x[0-9a-f]+\b")
"""Of a finding in one line: `Host API memory access error at host access to 0x7f92eaa0cc00 of size 17,152 bytes`."""

_INTERNAL = "Internal Sanitizer Error"


@dataclass(frozen=True)
class Frame:
    """A place in device code."""

    function: str
    """Demangled, with its arguments."""

    file: str | None = None
    """None where the code was built without -lineinfo."""

    line: int | None = None

    @property
    def kept_file(self) -> str | None:
        """The path for records: relative to the current directory where the file is below it."""
        return None if self.file is None else self.file.removeprefix(f"{os.getcwd()}/")

    @property
    def place(self) -> str:
        """`oob.cu:14`, or empty."""
        return "" if self.file is None else f"{self.file.rpartition('/')[2]}:{self.line}"


@dataclass(frozen=True)
class Finding:
    """One error of the report."""

    message: str
    """`Invalid __global__ write of size 2 bytes`."""

    severity: Severity = "error"
    """`error`, or racecheck's `warning` or `info`."""

    frames: tuple[Frame, ...] = ()
    """Innermost first; the last one is the kernel. Empty for what the host did, such as a copy of unwritten memory."""

    others: tuple[tuple[str, Frame], ...] = ()
    """The accesses that a race is with: `Read` or `Write`, and where."""

    thread: tuple[int, ...] | None = None
    """Index in the block: x, y, z."""

    block: tuple[int, ...] | None = None
    """Index in the grid: x, y, z."""

    address: str | None = None
    """Hexadecimal."""

    details: tuple[str, ...] = ()
    """What the tool adds, such as the nearest allocation and the distance to it."""

    @property
    def kernel(self) -> str | None:
        """The kernel, or the innermost function where the frames above it are not known."""
        return self.frames[-1].function if self.frames else None

    def on_host_within(self, memory: Iterable[tuple[int, int]]) -> bool:
        """Whether the host did it to this memory: addresses, and how many bytes there."""
        said = self.address or next(iter(_ADDRESS_WITHIN.findall(self.message)), None)
        if self.frames or said is None:
            return False
        address = int(said, 16)
        return any(start <= address < start + size for start, size in memory)

    def to_dict(self) -> ToolFindingFacts:
        """For the record."""
        here = self.frames[0] if self.frames else Frame("")
        return {
            "message": self.message,
            "severity": self.severity,
            "kernel": self.kernel,
            "file": here.kept_file,
            "line": here.line,
            "frames": [{"function": f.function, "file": f.kept_file, "line": f.line} for f in self.frames],
            "others": [
                {"access": access, "function": f.function, "file": f.kept_file, "line": f.line}
                for access, f in self.others
            ],
            "thread": None if self.thread is None else list(self.thread),
            "block": None if self.block is None else list(self.block),
            "address": self.address,
            "details": list(self.details),
        }

    def __str__(self) -> str:
        """One sentence: what, where, by whom."""
        parts = [self.message]
        if self.frames:
            inner, kernel = self.frames[0], self.frames[-1]
            at = f" at {inner.place}" if inner.place else ""
            parts[0] += f"{at} in {_short(inner.function)}"
            if inner is not kernel:
                parts.append(f"called at {kernel.place} in {_short(kernel.function)}")
        parts += [f"and a {access.lower()} at {frame.place or _short(frame.function)}" for access, frame in self.others]
        if self.thread is not None and self.block is not None:
            parts.append(f"thread {_index(self.thread)} of block {_index(self.block)}")
        if self.address is not None:
            parts.append(f"address {self.address}")
        return ", ".join([*parts, *self.details])


@dataclass(frozen=True)
class ToolReport:
    """A whole report."""

    findings: tuple[Finding, ...] = ()
    """Those that were printed: the tool stops printing after a hundred."""

    errors: int = 0
    """All of them."""

    warnings: int = 0
    """Racecheck's; they fail nothing."""

    complete: bool = False
    """Whether the tool came to its summary."""

    troubles: tuple[str, ...] = field(default=())
    """What the tool says about itself: a device that it does not support, a target that it lost."""

    def of_kernels(self, part: str) -> ToolReport:
        """Only the findings in kernels with `part` in the name of one of their functions, and those of host calls."""
        return self._without(
            lambda finding: bool(finding.frames) and not any(part in frame.function for frame in finding.frames)
        )

    def without_reads_of(self, memory: Sequence[tuple[int, int]]) -> ToolReport:
        """Only the findings in kernels, and those of the host elsewhere than in this memory: addresses and bytes."""
        return self._without(lambda finding: finding.on_host_within(memory))

    def _without(self, left_out: Callable[[Finding], bool]) -> ToolReport:
        own = tuple(finding for finding in self.findings if not left_out(finding))
        others = sum(finding.severity == "error" for finding in self.findings) - sum(
            finding.severity == "error" for finding in own
        )
        return replace(self, findings=own, errors=self.errors - others)

    @property
    def internal(self) -> str | None:
        """What went wrong in the tool itself; it counts that as one of its errors."""
        return next((trouble for trouble in self.troubles if trouble.startswith(_INTERNAL)), None)

    @property
    def first(self) -> Finding | None:
        """The first error; what comes after it may follow from it."""
        return next((finding for finding in self.findings if finding.severity == "error"), None)


def _short(function: str) -> str:
    """The function without its arguments and namespaces' noise: `custom_v3<__half, (int)64>`."""
    name = function.removeprefix("void ")
    depth = 0
    for position, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0 and position and not name[position:].startswith("(anonymous"):
            return name[:position]
    return name


def _index(index: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, index))})"
