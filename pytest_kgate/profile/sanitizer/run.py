"""One run of a compute-sanitizer tool over some tests, in a child process, and what it found in each.

All tests go into one child at first, because starting Python and PyTorch under the tool takes 10 to 30 s. A report does
not say which test a kernel belonged to, and a bad access takes the CUDA context of all that comes after it, so where
anything is found each test is run again in a child of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from pytest_kgate.profile.sanitizer.report import Report
from pytest_kgate.profile.sanitizer.report import parse_report
from pytest_kgate.profile.sanitizer.tools import Sanitize
from pytest_kgate.profile.sanitizer.tools import version_of
from pytest_kgate.profile.under_tool import launch_only as sanitized_child

KEPT = 5
"""Findings that a record keeps of each tool; the others are counted."""

_TAIL_LINES = 6
_STEP_SECONDS = 0.5
"""So often a thread looks whether it is to stop."""

_ASSERT = re.compile(
    r"^(?P<file>.+?):(?P<line>\d+): (?P<function>.+?): block: \[(?P<block>[\d,]+)\], thread: \[(?P<thread>[\d,]+)\] "
    r"Assertion `(?P<condition>.*)` failed",
    re.MULTILINE,
)
_UNUSABLE = re.compile(r"Device not supported|No attachable process|Unable to find injection|[Ff]ailed to initialize")
"""What the tool says on a machine on which it does not work, whatever the kernel."""


@dataclass(frozen=True)
class Order:
    """What to run, and how."""

    program: Path
    wanted: Sanitize
    directory: Path
    """Where pytest is started."""
    arguments: tuple[str, ...] = ()
    """For pytest, before the tests."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """In addition to this process's own."""
    timeout: float = 300.0
    """Seconds that one child may take."""
    stopped: threading.Event = field(default_factory=threading.Event)
    """Once it is set no child goes on; `examine` ends with KeyboardInterrupt, in whatever thread it runs."""


@dataclass(frozen=True)
class Examined:
    """What one tool says of one test."""

    test: str
    tool: str
    verdict: str
    """`PASS`; `FAIL`: it found something; `ERROR`: it could not look to the end; `SKIP`: it could not look at all."""
    reason: str
    """Empty for PASS."""
    version: str
    seconds: float
    """Of the child, shared with the tests that ran in it."""
    launched: tuple[Mapping[str, str], ...] = ()
    """Candidate and problem of each `kbench` call."""
    report: Report = field(default_factory=Report)

    def to_dict(self) -> dict[str, Any]:
        """For records, in built-in types."""
        return {
            "tool": self.tool,
            "version": self.version,
            "verdict": self.verdict,
            "reason": self.reason,
            "seconds": self.seconds,
            "errors": self.report.errors,
            "warnings": self.report.warnings,
            "findings": [finding.to_dict() for finding in self.report.findings[:KEPT]],
            "launched": [dict(one) for one in self.launched],
        }


@dataclass(frozen=True)
class _Child:
    """One process that has ended."""

    collected: Mapping[str, str] | None
    """The node ids that it was to run, each with the argument by which pytest finds it; None if it got not so far."""
    lines: Mapping[str, Mapping[str, Any]]
    """What became of those that it ran."""
    launched: Mapping[str, Sequence[Mapping[str, str]]]
    """What each test had launched, also one that took the process down."""
    report: Report
    output: str
    status: int | None
    """None after a timeout."""
    seconds: float

    def line(self, test: str) -> Mapping[str, Any]:
        line = self.lines.get(test, {"test": test, "outcome": "lost"})
        return {**line, "launched": self.launched.get(test, ())}

    @property
    def clean(self) -> bool:
        """Whether all tests ran to their end, and nothing was found in any."""
        ran = self.collected is not None and self.lines.keys() == self.collected.keys()
        fine = all(line["outcome"] in ("passed", "skipped") for line in self.lines.values())
        return ran and fine and self.report.complete and not self.report.errors and self.status is not None


def examine(tool: str, tests: Sequence[str], order: Order) -> list[Examined]:
    """What the tool finds in the tests: node ids, files or folders, as pytest takes them; one outcome a test.

    An empty list where pytest finds no test in them that has a kernel to watch.
    """
    child = _run(tool, tests, order)
    if child.collected is None:
        return [_judge(tool, {"test": " ".join(tests) or "all tests", "outcome": "lost"}, child, order)]
    if len(child.collected) == 1 or child.clean or _UNUSABLE.search(_said(child)):
        return [_judge(tool, child.line(test), child, order) for test in child.collected]
    outcomes = []
    for test, argument in child.collected.items():
        alone = child if child.line(test)["outcome"] == "skipped" else _run(tool, [argument], order)
        outcomes.append(_judge(tool, alone.line(test), alone, order))
    return outcomes


def _run(tool: str, tests: Sequence[str], order: Order) -> _Child:
    with tempfile.TemporaryDirectory(prefix="kgate-sanitize-") as scratch:
        folder = Path(scratch)
        results, log, output = folder / "results.jsonl", folder / "report.txt", folder / "output.txt"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST_")},
            # Every tensor an allocation of its own: an access behind a tensor's end is then outside of all of them,
            # and memory that was given back and taken again counts as unwritten.
            "PYTORCH_NO_CUDA_MEMORY_CACHING": "1",
            **order.environment,
            sanitized_child.RESULTS: str(results),
            sanitized_child.FULL_SIZE: "1" if order.wanted.full_size else "",
        }
        environment.pop("PYTEST_CURRENT_TEST", None)
        start = time.monotonic()
        with output.open("w", encoding="utf-8") as file:
            status = _wait(_command(tool, tests, order, log), environment, order, file.fileno())
        seconds = time.monotonic() - start
        told = [json.loads(line) for line in _read(results).splitlines()]
        launched: dict[str, list[Mapping[str, str]]] = {}
        for line in told:
            if "launch" in line:
                launched.setdefault(line["launch"], []).append({k: v for k, v in line.items() if k != "launch"})
        return _Child(
            next((line["collected"] for line in told if "collected" in line), None),
            {line["test"]: line for line in told if "test" in line},
            launched,
            _report(tool, order, _read(log)),
            _read(output),
            status,
            seconds,
        )


def _command(tool: str, tests: Sequence[str], order: Order, log: Path) -> list[str]:
    command = [str(order.program), "--tool", tool, "--log-file", str(log)]
    command += ["--target-processes", "all", "--strip-paths", "no", "--show-backtrace", "device"]
    if tool == "memcheck":
        command += ["--report-api-errors", "no"]  # libraries probe for what a driver has; a failed launch shows anyway
    if tool == "initcheck":
        command += ["--print-limit", "100000"]  # of all kernels; `_report` takes those that were asked for
    elif order.wanted.kernels is not None:
        command += ["--kernel-name", f"kernel_substring={order.wanted.kernels}"]
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
    pytest += ["--capture=sys"]  # what the driver says of an assert would be lost with a process that ends in one
    return [*command, *pytest, *order.arguments, *tests]


def _report(tool: str, order: Order, log: str) -> Report:
    """Initcheck has to watch every kernel: what one that it did not watch has written, would count as unwritten."""
    report = parse_report(log)
    return report if tool != "initcheck" or order.wanted.kernels is None else report.of_kernels(order.wanted.kernels)


def _wait(command: Sequence[str], environment: Mapping[str, str], order: Order, output: int) -> int | None:
    """The child's exit status; None where it was ended at the timeout, with all that it had started."""
    end = time.monotonic() + order.timeout
    with _started(command, environment, order, output) as child:
        while not order.stopped.is_set():
            try:
                return child.wait(max(0.0, min(_STEP_SECONDS, end - time.monotonic())))
            except subprocess.TimeoutExpired:
                if time.monotonic() >= end:
                    return None
        raise KeyboardInterrupt


@contextlib.contextmanager
def _started(
    command: Sequence[str], environment: Mapping[str, str], order: Order, output: int
) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        command,
        cwd=order.directory,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield child
    finally:  # after Ctrl-C too
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # its own session: the tool and the Python below it
            child.wait()


def _said(child: _Child) -> str:
    return "; ".join(child.report.troubles)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _judge(tool: str, line: Mapping[str, Any], child: _Child, order: Order) -> Examined:
    verdict, reason = _verdict(tool, line, child, order)
    return Examined(
        test=line["test"],
        tool=tool,
        verdict=verdict,
        reason=reason,
        version=version_of(order.program),
        seconds=child.seconds,
        launched=tuple(line.get("launched", ())),
        report=child.report,
    )


def _verdict(tool: str, line: Mapping[str, Any], child: _Child, order: Order) -> tuple[str, str]:
    said = _said(child)
    if _UNUSABLE.search(said):
        return "SKIP", f"compute-sanitizer does not work on this machine: {said}"
    if found := _ASSERT.search(child.output):  # it says more than what the tool makes of the launch that it ended
        return "FAIL", f"device assert: {_assert_text(found)}"
    first, errors = child.report.first, child.report.errors
    if first is not None:
        more = f" (and {errors - 1} more)" if errors > 1 else ""
        return "FAIL", f"{tool}: {first}{more}"
    if child.report.internal is not None:
        words = child.report.internal.rstrip(".")
        return "ERROR", f"{tool} failed itself ({words}); memcheck shows faults of kernels, and another size may do"
    if child.status is None:
        return "ERROR", f"{tool} did not end within {order.timeout:g} s; a smaller problem or a longer timeout helps"
    if line["outcome"] == "skipped":
        return "SKIP", str(line["message"])
    if line["outcome"] == "failed":
        return "ERROR", f"the test failed under {tool}: {line['message']}"
    if line["outcome"] == "lost":
        tail = " / ".join(child.output.strip().splitlines()[-_TAIL_LINES:]) or "nothing"
        return "ERROR", f"the process under {tool} ended with {_ending(child.status)} before its test did: {tail}"
    if not child.report.complete:
        return "ERROR", f"{tool} left no summary of its findings ({said or _ending(child.status)})"
    return "PASS", ""


def _assert_text(match: re.Match[str]) -> str:
    """`row_sum >= 0 at wmma.cu:210, thread (3, 0, 0) of block (0, 0, 0)`."""
    thread, block = (", ".join(match[name].split(",")) for name in ("thread", "block"))
    file = match["file"].rpartition("/")[2]
    return f"{match['condition']} at {file}:{match['line']}, thread ({thread}) of block ({block})"


def _ending(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"
