"""One run of a compute-sanitizer tool over some tests, in a child process that runs pytest, and what it found in each.

All tests go into one child at first, because starting Python and PyTorch under the tool takes 10 to 30 s. A report does
not say which test a kernel belonged to, and a bad access takes the CUDA context of all that comes after it, so where
anything is found each test is run again in a child of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import cast

from pytest_kgate.profile.sanitizer.asked import Sanitize
from pytest_kgate.profile.sanitizer.findings import ToolReport
from pytest_kgate.profile.sanitizer.report import parse_report
from pytest_kgate.profile.sanitizer.tools import PROGRAM
from pytest_kgate.profile.under_tool.program import version_of
from pytest_kgate.profile.under_tool.session import EndedSession
from pytest_kgate.profile.under_tool.session import ToolSession
from pytest_kgate.profile.under_tool.session import read
from pytest_kgate.profile.under_tool.session import run_session
from pytest_kgate.profile.under_tool.variables import FINDS_UNWRITTEN
from pytest_kgate.system.folders.scratch import scratch

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.sanitizer import LaunchedFacts
    from pytest_kgate.report.record.facts.sanitizer import SanitizerVerdict
    from pytest_kgate.report.record.facts.sanitizer import Tool
    from pytest_kgate.report.record.facts.sanitizer import ToolRunFacts

KEPT = 5
"""Findings that a record keeps of each tool; the others are counted."""

_ENVIRONMENT = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
"""Every tensor an allocation of its own: an access behind a tensor's end is then outside of all of them, and memory
that was given back and taken again counts as unwritten."""
_ASSERT = re.compile(
    r"^(?P<file>.+?):(?P<line>\d+): (?P<function>.+?): block: \[(?P<block>[\d,]+)\], thread: \[(?P<thread>[\d,]+)\] "
    r"Assertion `(?P<condition>.*)` failed",
    re.MULTILINE,
)
_UNSEEN = (
    "It does not see bulk stores (of the tensor memory accelerator): with those, let the candidate take `out=`, and "
    "what is written whole can be told"
)
_UNUSABLE = re.compile(r"Device not supported|No attachable process|Unable to find injection|[Ff]ailed to initialize")
"""What the tool says on a machine on which it does not work, whatever the kernel."""


@dataclass(frozen=True)
class ToolRun:
    """What to run, and how."""

    program: Path
    wanted: Sanitize
    session: ToolSession
    """How pytest is started; whether problems are full-size is `wanted`'s to say."""


@dataclass(frozen=True)
class Examined:
    """What one tool says of one test."""

    test: str
    tool: str
    verdict: SanitizerVerdict
    """`PASS`; `FAIL`: it found something; `ERROR`: it could not look to the end; `SKIP`: it could not look at all."""
    reason: str
    """Empty for PASS."""
    version: str
    seconds: float
    """Of the session, shared with the tests that ran in it."""
    launched: tuple[LaunchedFacts, ...] = ()
    """Candidate and problem of each `kbench` call."""
    report: ToolReport = field(default_factory=ToolReport)

    def to_dict(self) -> ToolRunFacts:
        """For records, in built-in types."""
        return {
            "tool": cast("Tool", self.tool),
            "version": self.version,
            "verdict": self.verdict,
            "reason": self.reason,
            "seconds": self.seconds,
            "errors": self.report.errors,
            "warnings": self.report.warnings,
            "findings": [finding.to_dict() for finding in self.report.findings[:KEPT]],
            "launched": list(self.launched),
        }


def examine(tool: str, tests: Sequence[str], run: ToolRun) -> list[Examined]:
    """What the tool finds in the tests: node ids, files or folders, as pytest takes them; one outcome a test.

    An empty list where pytest finds no test in them that has a kernel to watch.
    """
    all_together = _run(tool, tests, run)
    session = all_together.session
    if session.collected is None:
        return [_judge(tool, {"test": " ".join(tests) or "all tests", "outcome": "lost"}, all_together, run)]
    if len(session.collected) == 1 or all_together.clean or _UNUSABLE.search(all_together.said):
        return [_judge(tool, session.line(test), all_together, run) for test in session.collected]
    outcomes = []
    for test, argument in session.collected.items():
        alone = all_together if session.line(test)["outcome"] == "skipped" else _run(tool, [argument], run)
        outcomes.append(_judge(tool, alone.session.line(test), alone, run))
    return outcomes


@dataclass(frozen=True)
class _EndedRun:
    """One session of pytest that has ended, and what the tool reports of it."""

    session: EndedSession
    report: ToolReport

    @property
    def clean(self) -> bool:
        """Whether all tests ran to their end, and nothing was found in any."""
        return self.session.complete and self.report.complete and not self.report.errors

    @property
    def said(self) -> str:
        """What the tool says of itself."""
        return "; ".join(self.report.troubles)


def _run(tool: str, tests: Sequence[str], run: ToolRun) -> _EndedRun:
    session = replace(
        run.session,
        environment={
            **_ENVIRONMENT,
            FINDS_UNWRITTEN: "1" if tool == "initcheck" else "",
            **run.session.environment,
        },
        full_size=run.wanted.full_size,
    )
    with scratch("sanitize") as folder:
        log = Path(folder) / "report.txt"
        ended = run_session(PROGRAM, _command(tool, run, log), tests, session)
        return _EndedRun(ended, _report(tool, run, read(log)).without_reads_of(ended.written_whole))


def _command(tool: str, run: ToolRun, log: Path) -> list[str]:
    command = [str(run.program), "--tool", tool, "--log-file", str(log)]
    command += ["--target-processes", "all", "--strip-paths", "no", "--show-backtrace", "device"]
    if tool == "memcheck":
        command += ["--report-api-errors", "no"]  # libraries probe for what a driver has; a failed launch shows anyway
    if tool == "initcheck":
        command += ["--print-limit", "100000"]  # of all kernels; `_report` takes those that were asked for
    elif run.wanted.kernels is not None:
        command += ["--kernel-name", f"kernel_substring={run.wanted.kernels}"]
    return command


def _report(tool: str, run: ToolRun, log: str) -> ToolReport:
    """The findings in the kernels that were asked for.

    Initcheck watches all kernels all the same: memory that an unwatched one wrote would count as unwritten.
    """
    report = parse_report(log)
    return report if tool != "initcheck" or run.wanted.kernels is None else report.of_kernels(run.wanted.kernels)


def _judge(tool: str, line: Mapping[str, Any], ended: _EndedRun, run: ToolRun) -> Examined:
    verdict, reason = _verdict(tool, line, ended, run)
    return Examined(
        test=line["test"],
        tool=tool,
        verdict=verdict,
        reason=reason,
        version=version_of(run.program),
        seconds=ended.session.seconds,
        launched=tuple(line.get("launched", ())),
        report=ended.report,
    )


def _verdict(tool: str, line: Mapping[str, Any], ended: _EndedRun, run: ToolRun) -> tuple[SanitizerVerdict, str]:
    said, report, session = ended.said, ended.report, ended.session
    if _UNUSABLE.search(said):
        return "SKIP", f"compute-sanitizer does not work on this machine: {said}"
    if found := _ASSERT.search(session.output):  # it says more than what the tool makes of the launch that it ended
        return "FAIL", f"device assert: {_assert_text(found)}"
    first, errors = report.first, report.errors
    if first is not None:
        more = f" (and {errors - 1} more)" if errors > 1 else ""
        unasked = tool == "initcheck" and not first.frames and line["test"] not in session.written
        unseen = f". {_UNSEEN}" if unasked else ""
        return "FAIL", f"{tool}: {first}{more}{unseen}"
    if report.internal is not None:
        words = report.internal.rstrip(".")
        return "ERROR", f"{tool} failed itself ({words}); memcheck shows faults of kernels, and another size may do"
    if session.status is None:
        return (
            "ERROR",
            f"{tool} did not end within {run.session.timeout_seconds:g} s; a smaller problem or a longer timeout helps",
        )
    if line["outcome"] == "skipped":
        return "SKIP", str(line["message"])
    if line["outcome"] == "failed":
        return "ERROR", f"the test failed under {tool}: {line['message']}"
    if line["outcome"] == "lost":
        tail = session.tail or "nothing"
        return "ERROR", f"the process under {tool} ended with {session.ending} before its test did: {tail}"
    if not report.complete:
        return "ERROR", f"{tool} left no summary of its findings ({said or session.ending})"
    return "PASS", ""


def _assert_text(match: re.Match[str]) -> str:
    """`row_sum >= 0 at wmma.cu:210, thread (3, 0, 0) of block (0, 0, 0)`."""
    thread, block = (", ".join(match[name].split(",")) for name in ("thread", "block"))
    file = match["file"].rpartition("/")[2]
    return f"{match['condition']} at {file}:{match['line']}, thread ({thread}) of block ({block})"
