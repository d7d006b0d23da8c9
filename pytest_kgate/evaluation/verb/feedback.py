"""Feedback on a candidate, for who writes the next one: a program that has only this text to go by, perhaps."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest_kgate
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.report.text.failure import failure_text
from pytest_kgate.report.text.render import wrapped

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

_LONGEST = 8000
"""Characters."""

_ERROR_LINES = 30
"""Of a compiler's output, from the first error on: what follows from it is seldom read."""

WIDTH = 160
"""Of its lines, for a program."""

_LAST_LINES = 12

_PACKAGE = str(Path(pytest_kgate.__file__).parent)

_AGAIN = "  again "
_FRAMES = "Traceback, without the plugin's own frames:"

_HEADING = re.compile(rf"(?:\A|\n\n)(?=(?:{'|'.join(map(re.escape, VERDICTS))}): )")
"""Before each call's part in what pytest tells of a test."""


def of_record(record: Record, told: str, width: int = WIDTH) -> str:
    """What the record of a call says; `told` is what pytest has said of it, which has an exception's frames."""
    if record["verdict"] == "ERROR" and "\n$ " in record["reason"]:
        return shortened(_compilers(record["reason"]))
    lines = [line for line in failure_text(record, width).splitlines() if line and not line.startswith(_AGAIN)]
    _, marker, frames = told.partition(_FRAMES)
    raised = f"\n{marker}{frames.rstrip()}" if marker and record["verdict"] == "ERROR" else ""
    return shortened("\n".join(lines) + raised)


def told_of(record: Record, records: Sequence[Record], reports: Sequence[Mapping[str, str]]) -> str:
    """What pytest has said of this call, one of a session's `records`, if it ended in an error; or nothing.

    Other tests of the session, and other calls of the same test, may have ended in errors too. Where not every one of
    the test's errors has a part in its reports, nobody knows whose a part is.
    """
    parts = [
        part
        for report in reports
        if report.get("test") == record["test"]
        for part in _HEADING.split(report["told"])
        if part.startswith("ERROR: ")
    ]
    errors = [one for one in records if one["test"] == record["test"] and one["verdict"] == "ERROR"]
    if len(parts) != len(errors):
        return ""
    return next((part for one, part in zip(errors, parts, strict=True) if one is record), "")


def in_columns(said: str, width: int) -> str:
    """A feedback with its sentences in lines of at most so many columns, down to a word.

    Lines that are indented are laid out already. What follows on a colon at a line's end is what others said: a
    compiler, pytest, a traceback. That stays as it is.
    """
    lines = said.splitlines()
    ours = next((at for at, line in enumerate(lines) if line.endswith(":")), len(lines) - 1) + 1
    parts = [part for line in lines[:ours] for part in ([line] if line.startswith(" ") else wrapped(line, width))]
    return "\n".join([*parts, *lines[ours:]])


def last_lines(said: str) -> str:
    """The last lines of what a session printed."""
    return "\n".join([line.rstrip() for line in said.splitlines() if line.strip()][-_LAST_LINES:])


def last_words(said: str) -> str:
    """Where the candidate of a session that broke off was, if Python could tell; else the last lines."""
    _, crashed, trace = said.rpartition("Fatal Python error: ")
    if crashed:
        current = trace.rpartition("Current thread ")[2]  # those that only wait come before it
        frames = [line.strip() for line in current.splitlines() if line.startswith("  File ")]
        own = list(itertools.takewhile(lambda frame: _PACKAGE not in frame, frames))
        return "".join(f"\n{frame}" for frame in own)
    return f"\nIt said last:\n{last_lines(said)}" if said.strip() else ""


def _compilers(reason: str) -> str:
    """What does not compile, then the compiler's output from its first error on, and what to do."""
    first, _, rest = reason.partition("\n")
    output = [line for line in rest.splitlines() if line and not line.startswith("$ ")]
    todo = output.pop().strip() if output else ""
    start = next((at for at, line in enumerate(output) if re.search(r"\berror\b", line)), 0)
    shown = output[start : start + _ERROR_LINES]
    if shown and first.endswith(shown[0].strip()):  # else it is said twice
        first = first.removesuffix(shown[0].strip()).rstrip()
    left = len(output) - start - len(shown)
    return "\n".join([first, *shown, *([f"... and {left} more lines"] if left > 0 else []), todo]).rstrip()


def shortened(text: str) -> str:
    """The text, or its beginning."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n... cut off"
