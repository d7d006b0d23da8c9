"""A session for a reviewer, in GitHub's Markdown: the comment under a pull request, and the summary of a step."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.ci import untrusted
from pytest_kgate.report.ci.worst_first import Judged
from pytest_kgate.report.ci.worst_first import worst_first
from pytest_kgate.report.page.markdown import conditions
from pytest_kgate.report.page.markdown import grid
from pytest_kgate.report.page.percentiles import table as percentile_table
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.report.text.failure import failure_text
from pytest_kgate.report.together.grids import grids_of

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.report.together.policy.findings import Finding

MARKER = "<!-- pytest-kgate: comment -->"
"""The comment's first line, by which the next run finds it."""

COMMENT_CHARACTERS = 65_536
"""That GitHub takes in one comment."""

SUMMARY_BYTES = 1_048_576
"""That GitHub takes as the summary of one step."""

_HEAD = ("verdict", "test", "candidate", "median", "reference", "speedup", "ratio", "target")
_RIGHT = frozenset({"median", "speedup"})

_COUNTED = {"tensor": "tensor", "sm": "SM", "dram": "DRAM", "occupancy": "occupancy"}
"""Counters that say at a glance what a kernel does with the GPU, in percent, by their short names."""

_READINGS = {True: 1, False: 3}
"""Lines of what was read by a rule that holds, and by one that is broken."""

_CONDITIONS = 5
"""Kinds of machine that are listed."""

_BESIDE = 20
"""Failures without a record that are told, a line each."""

_GRIDS = 20
"""Grids of shapes that are told, a line each."""

_WIDTH = 100

_MISSED_TITLE = "What was demanded and measured"
_PERCENTILES_TITLE = "Percentiles of latency, with intervals or how many more samples these take"

_MARKS = {"passed": "\N{WHITE HEAVY CHECK MARK}", "failed": "\N{CROSS MARK}"}
_OTHER_MARK = "\N{WARNING SIGN}\N{VARIATION SELECTOR-16}"


@dataclass(frozen=True)
class Beside:
    """What is known of the sessions besides their records."""

    unread: Sequence[str] = ()
    """Why files of records could not be read, or not to their end, a sentence each."""
    failed: Sequence[tuple[str, str]] = ()
    """Files that could not be collected, and tests that failed, of which there is no record: name, and why."""


_NOTHING = Beside()


def comment(
    records: Sequence[Record],
    status: int | None = None,
    policy: Sequence[Finding] = (),
    beside: Beside = _NOTHING,
) -> str:
    """The comment under a pull request.

    `status` is pytest's exit status, which knows of tests without gates, too; `policy` is what became of its rules.
    """
    return f"{MARKER}\n" + _page(records, status, policy, beside, COMMENT_CHARACTERS - len(MARKER) - 1, _utf16)


def step_summary(
    records: Sequence[Record],
    status: int | None = None,
    policy: Sequence[Finding] = (),
    beside: Beside = _NOTHING,
    room: int = SUMMARY_BYTES,
) -> str:
    """The session as the summary of a GitHub step, in at most `room` bytes of UTF-8."""
    return _page(records, status, policy, beside, room, _utf8)


def _utf16(content: str) -> int:
    """Characters as a browser counts them: those beyond 65,535 are two."""
    return len(content.encode("utf-16-le", "surrogatepass")) // 2


def _utf8(content: str) -> int:
    return len(content.encode("utf-8", "surrogatepass"))


def _page(
    records: Sequence[Record],
    status: int | None,
    policy: Sequence[Finding],
    beside: Beside,
    room: int,
    size: Callable[[str], int],
) -> str:
    judged = worst_first(records)
    holds = all(one.holds for one in policy)
    top = f"### {headline(judged, status, holds, not beside.unread)}\n\n"
    told = [untrusted.words(one) for one in beside.unread]
    told += [f"{untrusted.code(name)} {untrusted.words(why)}" for name, why in beside.failed]
    shown = told if len(told) <= _BESIDE else [*told[:_BESIDE], f"and {len(told) - _BESIDE} more, in the log"]
    top += "".join(f"- {one}\n" for one in shown) + ("\n" if told else "")
    top += f"{policy_section(policy)}\n" if policy else ""
    if not judged:
        why = "." if told else ": the log says why."
        return f"{top}No gate was measured{why}\n{_link(os.environ)}"
    counts = Counter(one.row.verdict for one in judged)
    top += ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]) + "\n\n"
    grids = grids_of(records)
    top += "".join(f"- {untrusted.words(one.line)}\n" for one in grids[:_GRIDS])
    top += (_left_out(len(grids) - _GRIDS, "grid") if len(grids) > _GRIDS else "") + ("\n" if grids else "")
    bottom = "\n" + "\n".join(_conditions(records)) + "\n" + _link(os.environ)
    room -= size(top) + size(bottom) + size(_left_out(len(judged), "row"))
    room -= sum(size(_folded(title, "", len(judged), "test")) for title in (_MISSED_TITLE, _PERCENTILES_TITLE))
    head, *rows = _table(judged)
    shown = _that_fit([head, *rows], room, size)
    top += "".join(shown) + _left_out(len(rows) + 1 - len(shown), "row")
    room -= sum(map(size, shown))
    missed = sorted(
        (record for record in records if not VERDICTS[record["verdict"]].passes),
        key=lambda record: VERDICTS[record["verdict"]].rank,
    )
    fitting = _that_fit(map(_detail, missed), room, size)
    if missed:
        top += _folded(_MISSED_TITLE, "".join(fitting), len(missed) - len(fitting), "test")
    room -= sum(map(size, fitting))
    races = percentile_table(_worst_records(judged), untrusted.code)
    fitting = _that_fit(races, room, size)
    if races:
        top += _folded(_PERCENTILES_TITLE, "".join(fitting), len(races) - max(1, len(fitting)), "race")
    return top + bottom


def _worst_records(judged: Iterable[Judged]) -> list[Record]:
    return list({id(one.record): one.record for one in judged}.values())


def policy_section(findings: Sequence[Finding]) -> str:
    """The rules of a policy with what they read, the broken ones first."""
    broken = sum(not one.holds for one in findings)
    count = text.counted(len(findings), "rule")
    mark = _MARKS["failed" if broken else "passed"]
    said = f"{broken} of {count} broken" if broken else f"{count}, all hold"
    lines = [f"#### {mark} policy: {said if all(one.line for one in findings) else 'it could not be read'}", ""]
    for finding in sorted(findings, key=lambda one: one.holds):
        lines.append(f"- {'holds' if finding.holds else '**broken**'}: {untrusted.words(finding.rule_text)}")
        lines += [f"  - {untrusted.words(said)}" for _, said in finding.told(_READINGS[finding.holds])]
    return "\n".join(lines) + "\n"


def headline(judged: Sequence[Judged], status: int | None, policy_holds: bool = True, all_read: bool = True) -> str:
    """`kgate: 2 of 10 gates do not pass`, with a mark, and what else stands against the change.

    Not `all_read`: records are missing, of which nobody knows what they say.
    """
    missed = [one.row for one in judged if not VERDICTS[one.row.verdict].passes]
    if missed:
        verb = "does" if len(missed) == 1 else "do"
        said = f"kgate: {len(missed)} of {text.counted(len(judged), 'gate')} {verb} not pass"
        failed = any(VERDICTS[row.verdict].reported == "failed" for row in missed)
        mark = _OTHER_MARK if status == 0 or not failed else _MARKS["failed"]
        if status == 0:
            said += ", and the session accepts that"
    elif judged:
        said = f"kgate: {'the gate passes' if len(judged) == 1 else f'all {len(judged)} gates pass'}"
        mark = _MARKS["failed"] if status else _MARKS["passed"]
    else:
        said, mark = "kgate: nothing was judged", _MARKS["failed"] if status else _OTHER_MARK
    if status and not (missed and status == 1):
        said += f", but pytest failed: {_STATUS.get(status, f'exit status {status}')}"
    if not all_read:
        mark = _MARKS["failed"]
        said += ", and records could not be read"
    if not policy_holds:
        mark = _MARKS["failed"]
        said += f", {'and' if missed or status else 'but'} the policy is broken"
    return f"{mark} {said}"


_STATUS = {
    1: "tests without a gate have failed",
    2: "it was interrupted, or a test file could not be collected",
    3: "an internal error",
    4: "its command line or configuration is wrong",
    5: "no test was collected",
}
"""pytest's exit statuses."""


def _table(judged: Sequence[Judged]) -> list[str]:
    """The head with its ruler, then a line for each row."""
    counters = [_counters(one) for one in judged]
    head = (*_HEAD, "counters") if any(counters) else _HEAD
    rows = [(*_cells(one), counted)[: len(head)] for one, counted in zip(judged, counters, strict=True)]
    lines = grid(head, _RIGHT, rows, cells_are_markdown=True).splitlines(keepends=True)
    return ["".join(lines[:2]), *lines[2:]]


def _cells(one: Judged) -> tuple[str, ...]:
    row, passes = one.row, VERDICTS[one.row.verdict].passes
    reference = " ".join(part for part in (row.reference, row.backend) if part)
    return (
        row.verdict if passes else f"**{row.verdict}**",
        untrusted.code(one.test),
        f"{untrusted.code(row.candidate)} on {untrusted.code(row.problem)}",
        text.seconds_if_any(row.candidate_seconds),
        f"{text.seconds_if_any(row.reference_seconds)} {untrusted.code(reference)}".strip(),
        "" if not row.ratio else f"{text.ratio(1 / row.ratio, 2)}x",
        untrusted.words(one.measured),
        untrusted.words(one.target),
    )


def _counters(one: Judged) -> str:
    found = one.record.get("counters")
    metrics = found["candidate"]["metrics"] if found and found["candidate"] else {}
    return ", ".join(
        f"{said} {metrics[name]['value']:.0f} %"
        for name, said in _COUNTED.items()
        if name in metrics and metrics[name]["unit"] == "%"
    )


def _detail(record: Record) -> str:
    """What is shown of one that does not pass."""
    return f"{untrusted.code(record['test'])}\n\n{untrusted.block(failure_text(record, _WIDTH))}\n"


def _folded(title: str, inner: str, left_out: int, what: str) -> str:
    missing = _left_out(left_out, what)
    return f"\n<details><summary>{title}</summary>\n\n{inner}{missing}\n</details>\n"


def _conditions(records: Sequence[Record]) -> list[str]:
    """Where and how it was measured; the names of a machine are not the pull request's."""
    lines = conditions(records).strip().splitlines()
    more = [f"and {len(lines) - _CONDITIONS} more kinds of machine or setting"] if len(lines) > _CONDITIONS else []
    return [*lines[:_CONDITIONS], *more]


def _link(environment: Mapping[str, str]) -> str:
    """To the run of GitHub Actions that this is part of, which keeps the files."""
    named = [environment.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
    return "\n[The run]({}/{}/actions/runs/{}) keeps the records.\n".format(*named) if all(named) else ""


def _left_out(count: int, what: str) -> str:
    """The count stands where something is missing, so that nobody takes what is shown for all."""
    return f"\n{text.counted(count, f'more {what}')} left out here; the file of records has all.\n" if count else ""


def _that_fit(parts: Iterable[str], room: int, size: Callable[[str], int]) -> list[str]:
    fitting = []
    for part in parts:
        room -= size(part)
        if room < 0:
            break
        fitting.append(part)
    return fitting
