"""`kgate report` for reviewers: a text takes the place of the last run's, and so must tell whatever went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.report.ci.junit.read import failures
from pytest_kgate.report.ci.markdown import Beside
from pytest_kgate.report.ci.markdown import comment
from pytest_kgate.report.ci.markdown import step_summary
from pytest_kgate.report.record.document import read

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from collections.abc import Mapping
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_kgate.report.record.record import Record
    from pytest_kgate.report.together.policy.findings import Finding

FORMATS: Mapping[str, Callable[[Sequence[Record], int | None, Sequence[Finding], Beside], str]] = {
    "comment": comment,
    "summary": step_summary,
}
"""What makes a text of records, pytest's exit status, a policy's rules and what else went wrong, by its name."""


def read_all(paths: Sequence[str]) -> tuple[list[tuple[list[Record], str | None]], list[KgateError]]:
    """The files as `read` has them, and what is wrong with those that can't be read."""
    files, damaged = [], []
    for path in paths:
        try:
            files.append(read(path))
        except KgateError as error:
            damaged.append(error)
    return files, damaged


def text_of(
    options: argparse.Namespace, records: Sequence[Record], cut_off: Sequence[str], damaged: Sequence[KgateError]
) -> tuple[str, KgateError | None]:
    """The text that the options ask for, and the first of its files that could not be read."""
    findings, fault = _judged(options.policy, records)
    failed, unread = failures_of(options, records)
    faults = [*damaged, *([fault] if fault is not None else []), *unread]
    beside = Beside([*(one.what for one in damaged), *(f"{clause}." for clause in cut_off)], failed)
    told = FORMATS[options.format](records, options.session_status, findings, beside)
    return told, next(iter(faults), None)


def failures_of(
    options: argparse.Namespace, records: Sequence[Record]
) -> tuple[list[tuple[str, str]], list[KgateError]]:
    """What pytest's own reports have that no record has, as `failures` has it; and what is wrong with such a file."""
    failed: list[tuple[str, str]] = []
    faults: list[KgateError] = []
    for path in options.junit:
        if options.session_status and not path.exists():
            continue  # a session that could not begin has left none
        try:
            failed += [one for one in failures(path, records) if one not in failed]
        except KgateError as error:
            faults.append(error)
    return failed, faults


def _judged(policy: Path | None, records: Sequence[Record]) -> tuple[list[Finding], UsageError | None]:
    """What became of a policy's rules, and its mistake where it can't be read: then the text says that, at least."""
    if policy is None:
        return [], None
    from pytest_kgate.report.together.policy import file  # here: before Python 3.11 it needs a package
    from pytest_kgate.report.together.policy.findings import Finding

    try:
        return [rule.judge(records) for rule in file.read(policy)], None
    except UsageError as error:
        return [Finding.of_fault(error)], error
