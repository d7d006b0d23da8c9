"""What `kgate watch` prints of a run: one line, and below it why the test did not pass."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.evaluation.verb import feedback
from pytest_kgate.report import format as text
from pytest_kgate.report.format import counted

if TYPE_CHECKING:
    from pytest_kgate.evaluation.verb.answer import Evaluation
    from pytest_kgate.evaluation.verb.answer import Ratio
    from pytest_kgate.evaluation.verb.session import Ended

_REASON_LINES = 6
"""Of a verdict's reason, at most: what was demanded, measured, by how much it is off, where it is wrong."""

_OUTPUT_LINES = 16
"""Of what a compiler or pytest says, at most."""

_SHORTEST_NAME = 8

_NAMED = 4


def of_run(answer: Evaluation, ended: Ended, clock: str, seconds: float, saved: Sequence[Path], width: int) -> str:
    """The line of a run that ended so long after these files were saved, with the reason where it did not pass."""
    parts = [clock, f"{_verdict(answer, ended):<4}"]
    if answer["ratio"] is not None:
        parts.append(_ratio(answer["ratio"]))
    if len(ended.records) > 1:
        parts.append(f"worst of {len(ended.records)}")
    parts.append(f"{seconds:.1f} s")
    line = "  ".join(parts)
    room = width - len(line) - 2
    if saved and room >= _SHORTEST_NAME:
        line = f"{line}  {_names(saved, room)}"
    return line if answer["passed"] else "\n".join([line, *_reason(answer, ended, width - 2)])


def named(watched: Iterable[Path]) -> str:
    """How many files, and the names of the first."""
    names = sorted(path.name for path in watched)
    more = f" and {counted(len(names) - _NAMED, 'other')}" if len(names) > _NAMED else ""
    return f"{counted(len(names), 'file')}: {', '.join(names[:_NAMED])}{more}"


def _verdict(answer: Evaluation, ended: Ended) -> str:
    if answer["verdict"] == "MISUSE":
        skipped = any(report["outcome"] == "skipped" for report in ended.reports)
        return "SKIPPED" if skipped else "ERROR"
    failed_beside_the_gate = answer["verdict"] == "PASS" and not answer["passed"]
    return "FAIL" if failed_beside_the_gate else answer["verdict"]


def _ratio(found: Ratio) -> str:
    decimals = text.decimals_for(found["low"], found["high"])
    ratio, interval = text.ratio(found["estimate"], decimals), text.interval(found["low"], found["high"], decimals)
    bound = "" if found["bound"] is None else f", bound {text.bound(found['bound'])}"
    return f"{ratio} {interval}{bound}"


def _names(saved: Sequence[Path], room: int) -> str:
    more = f" and {counted(len(saved) - 1, 'other')}" if len(saved) > 1 else ""
    names = f"{saved[0].name}{more}"
    return names if len(names) <= room else f"{names[: room - 3]}..."


def _reason(answer: Evaluation, ended: Ended, width: int) -> list[str]:
    told = "\n".join(report["told"] for report in ended.reports)
    said, most = answer["feedback"], _OUTPUT_LINES
    if answer["record"] is not None and answer["verdict"] != "PASS":
        said = feedback.of_record(
            answer["record"], feedback.told_of(answer["record"], ended.records, ended.reports), width
        )
        most = _OUTPUT_LINES if answer["verdict"] == "ERROR" else _REASON_LINES
    elif answer["verdict"] == "MISUSE" and told.strip():
        said = told  # a kernel that does not compile, a test that is skipped
    lines = [
        part
        for line in said.splitlines()
        if line.strip() and not line.startswith("$ ")
        for part in textwrap.wrap(
            line,
            width,
            subsequent_indent="    ",
            drop_whitespace=False,
            break_long_words=False,  # a path is to be copied
            break_on_hyphens=False,
        )
    ]
    left = len(lines) - most
    return [*(f"  {line.rstrip()}" for line in lines[:most]), *([f"  ... and {left} more"] if left > 0 else [])]
