"""Some tests' candidates and references under Nsight Compute, all in one child process, and what it counted in each.

Starting Python and PyTorch under the tool takes most of the time, so tests share a process. One that takes the process
down has its reason; those behind it have none yet, and can be given to another process.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.profile.nsight.collection import refusals
from pytest_kgate.profile.nsight.collection.launches import MOST_SECONDS
from pytest_kgate.profile.nsight.collection.page import PROGRAM
from pytest_kgate.profile.nsight.collection.page import launches_in
from pytest_kgate.profile.nsight.collection.page import passes_of
from pytest_kgate.profile.nsight.collection.page import print_the_table
from pytest_kgate.profile.nsight.collection.page import without_table
from pytest_kgate.profile.nsight.reading.launch import Launch
from pytest_kgate.profile.nsight.reading.launch import UnreadableReport
from pytest_kgate.profile.under_tool.program import version_of
from pytest_kgate.profile.under_tool.session import EndedSession
from pytest_kgate.profile.under_tool.session import ToolSession
from pytest_kgate.profile.under_tool.session import read
from pytest_kgate.profile.under_tool.session import run_session
from pytest_kgate.profile.under_tool.variables import REFERENCES
from pytest_kgate.system.folders.scratch import scratch

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.counters import CollectionPhases
    from pytest_kgate.report.record.facts.counters import LaunchCounters
    from pytest_kgate.report.record.record import Record

REPLAY = "kernel"
"""Each launch is run again, with its memory restored, for counters that can't be read at once."""

CLOCK_CONTROL = "none"
"""Clocks are as in the race: locked to the base clock, a kernel would meet another balance of memory and arithmetic."""


@dataclass(frozen=True)
class Collection:
    """What a run of Nsight Compute is to count, and how it is started."""

    program: Path
    metrics: tuple[str, ...]
    """By Nsight Compute's names."""
    session: ToolSession
    """How pytest is started."""
    cache_control: str = "none"
    """`none`, or `all` to empty the caches before each pass."""
    references: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The names of references that have raced, by test and by number of the call."""
    section_set: str | None = None
    """A set of sections that is collected as well."""
    report: Path | None = None
    """Where the report is kept, a file `.ncu-rep`; None where it is not."""
    source: bool = False
    """Whether the report holds the kernels' sources."""

    @property
    def tool(self) -> str:
        """Name and version, for messages and records."""
        return f"{PROGRAM} {version_of(self.program)}"


@dataclass(frozen=True)
class CountedCall:
    """One call of one arm."""

    call: int
    arm: str
    """`candidate` or `reference`."""
    backend: str | None
    """The reference's name among several."""
    gpu: str | None
    """The UUID of the GPU that it ran on."""
    launches: tuple[LaunchCounters, ...]
    """All of them, in order."""
    places: tuple[int, ...]
    """Of each launch among all of the report, from 0."""
    cut_off: bool = False
    """Whether it made more launches than were looked at, which are then left out."""


@dataclass(frozen=True)
class CountedTest:
    """What was counted in one test, or why nothing was."""

    test: str
    reason: str
    """Empty where something was counted."""
    calls: tuple[CountedCall, ...]
    seconds: float
    """Of the process and of reading its report, shared with the tests that ran in it."""
    report: Path | None
    """The file that was kept."""
    records: Mapping[int, Record] = field(default_factory=dict)
    """By number of the call: candidate, problem and environment, as the child knows them; nothing is judged in them."""
    failure: str = ""
    """What the test failed with in that process; empty where it did not."""
    phases: CollectionPhases | None = None
    """Where the seconds went."""
    unknown: str | None = None
    """The metric for which the tool refused to count any."""


def collect(tests: Sequence[str], how: Collection) -> dict[str, CountedTest]:
    """What was counted, by node id; tests that the process did not come to are missing.

    `tests` are node ids, files or folders, as pytest takes them. A process that got not so far as to collect any has
    one entry, of the name ``, with the reason. Metrics that the tool does not know on this GPU are left out.
    """
    while True:
        found = _collect(tests, how)
        unknown = next((one.unknown for one in found.values()), None)
        known = tuple(name for name in how.metrics if name.partition(".")[0] != unknown)
        if unknown is None or known in ((), how.metrics):
            return found
        how = replace(how, metrics=known)


def _collect(tests: Sequence[str], how: Collection) -> dict[str, CountedTest]:
    with scratch("profile") as folder:
        report, log = Path(folder) / "counters.ncu-rep", Path(folder) / "log.txt"
        session = replace(how.session, environment={**how.session.environment, **_environment(how)}, full_size=True)
        with ThreadPoolExecutor(1) as beside:  # to ask the tool for its version takes a part of a second, too
            beside.submit(version_of, how.program)
            ended = run_session(PROGRAM, _command(how, report, log), tests, session)
        ended_at, printed = time.monotonic(), read(log)
        said = without_table(printed)
        problem = refusals.of_machine(f"{said}\n{ended.output}", how.tool)
        if problem is None and ended.collected is None:
            problem = _lost(ended, said, how)
        launches: Sequence[Launch] = ()
        if problem is None and report.exists():
            try:
                # One that was taken down may have printed a part of its table.
                launches = launches_in(report, how.program, printed if ended.status == 0 else "")
            except UnreadableReport as error:
                problem = f"{error.what} {error.todo}"
        phases = _phases(ended, time.monotonic() - ended_at, passes_of(said))
        kept = None
        if how.report is not None and report.exists():
            kept = Path(shutil.move(report, how.report))
        if problem is not None:
            unknown, known = refusals.unknown_metric(said), ended.collected or {"": ""}
            found = {test: CountedTest(test, problem, (), 0.0, kept, unknown=unknown) for test in known}
        else:
            found = _by_test(ended, launches, said, how, kept)
        seconds = ended.seconds + phases["reading"]
        return {test: replace(one, seconds=seconds, phases=phases) for test, one in found.items()}


def _command(how: Collection, report: Path, log: Path) -> list[str]:
    # It adds the ending itself, and takes % in a name for more than a letter: so the file is moved afterwards.
    command = [str(how.program), "--export", str(report.with_suffix("")), "--log-file", str(log)]
    # No other process is looked at anyway, and to follow those that PyTorch or a compiler starts takes time.
    command += ["--target-processes", "application-only", "--profile-from-start", "off", "--nvtx"]
    command += ["--clock-control", CLOCK_CONTROL, "--cache-control", how.cache_control, "--replay-mode", REPLAY]
    command += ["--metrics", ",".join(how.metrics)]
    if how.section_set is not None:
        command += ["--set", how.section_set]
    if how.source:
        command += ["--import-source", "yes", "--section", "SourceCounters"]
    return [*command, *print_the_table()]


def _environment(how: Collection) -> dict[str, str]:
    """What the child reads, and the tool.

    It copies its sections into the user's folder at its first start, where one may change them: none is asked for here
    unless the user names a set.
    """
    copies = {} if how.section_set is not None else {"NV_COMPUTE_PROFILER_DISABLE_STOCK_FILE_DEPLOYMENT": "1"}
    return {**copies, REFERENCES: json.dumps(how.references)}


def _phases(ended: EndedSession, reading: float, passes: int) -> CollectionPhases:
    phases: CollectionPhases = {
        "start": ended.phases.start,
        "collection": ended.phases.collection,
        "preparation": ended.phases.preparation,
        "counting": ended.phases.watched,
        "end": ended.phases.end,
        "reading": reading,
    }
    if passes:
        phases["passes"] = passes
    return phases


def _by_test(
    ended: EndedSession, launches: Sequence[Launch], said: str, how: Collection, kept: Path | None
) -> dict[str, CountedTest]:
    assert ended.collected is not None
    found: dict[str, CountedTest] = {}
    for test in ended.collected:
        line = ended.line(test)
        calls = tuple(_call(one, launches, how.metrics) for one in line["launched"] if one["state"] == "ended")
        reason = _reason(line, calls, ended, said, how, silent=not launches)
        records = {one["call"]: one["record"] for one in line["launched"] if one["state"] == "record"}
        failure = str(line["message"]) if line["outcome"] == "failed" else ""
        found[test] = CountedTest(test, reason, calls, 0.0, kept, records, failure)
        if line["outcome"] == "lost":
            break  # the process ended in this one
    return found


def _call(told: Mapping[str, Any], launches: Sequence[Launch], metrics: Sequence[str]) -> CountedCall:
    cut_off = bool(told.get("cut_off"))
    places = tuple(place for place, one in enumerate(launches) if told["range"] in one.ranges and not cut_off)
    own = tuple(_asked_for(launches[place].counters, metrics) for place in places)
    return CountedCall(int(told["call"]), told["arm"], told["backend"], told["gpu"], own, places, cut_off)


def _asked_for(counters: LaunchCounters, metrics: Sequence[str]) -> LaunchCounters:
    """Without what the tool adds: attributes of the device, and averages and extremes of each counter."""
    own = {name: value for name, value in counters["metrics"].items() if name.partition("[")[0] in metrics}
    return {**counters, "metrics": own}


def _reason(
    line: Mapping[str, Any],
    calls: Sequence[CountedCall],
    ended: EndedSession,
    said: str,
    how: Collection,
    *,
    silent: bool,
) -> str:
    """Why nothing was counted in a test; empty where something was."""
    candidates = [one for one in calls if one.arm == "candidate"]
    if any(one.launches for one in candidates):
        return ""
    if any(one.cut_off for one in candidates):
        return (
            f"The candidate's call makes more launches than {PROGRAM} counts within {MOST_SECONDS:g} s. Profile a "
            "smaller problem, of fewer launches."
        )
    if line["outcome"] == "lost":
        return _lost(ended, said, how)
    if candidates and silent:
        return (
            f"{how.tool} saw no launch, neither of the candidate nor of the reference: "
            f"{refusals.of_kernel(said) or refusals.errors(said) or 'it does not say why'}. "
            f"`{PROGRAM} --profile-from-start off python -c ...` on a kernel of yours shows whether it works here."
        )
    if candidates:
        return "The candidate launched no kernel in its call. Copies by the driver have no counters."
    if line["outcome"] == "skipped":
        return f"The test was skipped under {PROGRAM}: {line['message']}"
    if line["outcome"] == "failed":
        return f"The test failed under {PROGRAM}: {line['message']}"
    return f"The test called no kbench under {PROGRAM}. It must do the same in every process."


def _lost(ended: EndedSession, said: str, how: Collection) -> str:
    """Why the process ended, or had to be ended, before its tests did."""
    tail = ended.tail or refusals.errors(said) or "nothing"
    if of_kernel := refusals.of_kernel(said):
        return of_kernel
    if ended.status is None:
        return (
            f"The process under {PROGRAM} did not end within {how.session.timeout_seconds:g} s. A longer "
            f"--kgate-timeout helps if it is just slow; its last lines: {tail}"
        )
    return f"The process under {PROGRAM} ended with {ended.ending} before its test did. Its last lines: {tail}"
