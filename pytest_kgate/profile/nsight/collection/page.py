"""How Nsight Compute is made to print what a report holds: in the run that writes it, or in one of its own later."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pytest_kgate.profile.nsight.collection import refusals
from pytest_kgate.profile.nsight.reading.launch import Launch
from pytest_kgate.profile.nsight.reading.launch import UnreadableReport
from pytest_kgate.profile.nsight.reading.raw_csv import read_raw_csv
from pytest_kgate.profile.nsight.reading.report_file import launches_of

PROGRAM = "ncu"

_RAW = ("--csv", "--page", "raw", "--print-units", "base", "--print-metric-instances", "details")
"""All metrics of all launches, with instructions by opcode."""

_IMPORT_SECONDS = 120.0

_PASSES = re.compile(r"^==PROF== Profiling .*? (\d+) pass(?:es)?\s*$", re.MULTILINE)
"""`==PROF== Profiling "kernel" - 0: 0%....50%....100% - 38 passes`."""


def print_the_table() -> tuple[str, ...]:
    """Arguments by which the run that writes a report prints its table too, where that is what will be read.

    To start the tool once more, only to read, takes seconds.
    """
    return () if importlib.util.find_spec("ncu_report") else _RAW


def launches_in(report: Path, program: Path, printed: str) -> Sequence[Launch]:
    """The launches of a report: of the table that a run `printed` into its log, or else of its file.

    A log that has no whole table is that of a tool which prints none beside a report. Raises `UnreadableReport`.
    """
    if not importlib.util.find_spec("ncu_report"):
        try:
            found = read_raw_csv(printed)
        except UnreadableReport:
            found = []
        if found:
            return found
    return launches_of(report, lambda: page(program, report, *_RAW))


def without_table(printed: str) -> str:
    """A log without the rows of its table: what the tool says of the run."""
    return "\n".join(line for line in printed.splitlines() if not line.startswith('"'))


def passes_of(said: str) -> int:
    """In how many passes all launches were run, as counters don't fit in one; 0 where a log does not tell."""
    return sum(int(one) for one in _PASSES.findall(said))


def page(program: Path, report: Path, *arguments: str) -> str:
    """What the tool prints of a report; raises `UnreadableReport` where it can't read it."""
    command = [str(program), "--import", str(report), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_IMPORT_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise UnreadableReport(f"{PROGRAM} could not read its report: {error}.", "Run the tests again.") from None
    if done.returncode:
        said = f"{done.stdout}\n{done.stderr}"
        raise UnreadableReport(
            f"The report of {PROGRAM} can't be read: {refusals.errors(said) or said.strip()}.",
            "It may have been cut off: look for a full disk, and run the tests again.",
        )
    return done.stdout
