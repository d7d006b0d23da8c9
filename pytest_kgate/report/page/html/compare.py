"""Two or more files of records side by side: what each says of the same gate."""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.rows import Row
from pytest_kgate.report.rows import rows_of

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

_RERUN = re.compile(r"\btry \d+")

Key = tuple[str, str, str, str, str]
"""Test, call and quantile, candidate, problem, limit."""


@dataclass(frozen=True)
class Side:
    """What one file says of a gate."""

    number: int
    """Of the record, from 0."""
    verdict: str
    ratio: str
    """With its interval; of a limit, what was measured."""
    candidate: str
    """Its latency."""


@dataclass(frozen=True)
class Pair:
    """One gate as all compared files have it."""

    name: str
    """Of the candidate."""
    problem: str
    notes: str
    sides: Sequence[Side | None]
    """One for each file; None where it has no such gate."""
    change: str
    """Of the last over the first ratio; empty where either is missing."""
    apart: bool
    """Whether their intervals are."""


def compare(records: Sequence[Record], sources: Sequence[str], names: Sequence[str]) -> list[Pair]:
    """The gates that are in at least two of the files `names`, in the order of the first; none for a single file.

    Of several records of one gate in one file the last counts.
    """
    if len(names) < 2:
        return []
    gates: dict[Key, dict[str, tuple[int, Row]]] = {}
    for number, (record, source) in enumerate(zip(records, sources, strict=True)):
        for row in rows_of([record]):
            limit = row.limit["name"] if row.limit is not None else ""
            notes = _RERUN.sub("", row.notes).strip()
            key = (record["test"], notes, row.candidate, row.problem, limit)
            gates.setdefault(key, {})[source] = (number, row)
    return [_pair(key, found, names) for key, found in gates.items() if len(found) > 1]


def _pair(key: Key, found: Mapping[str, tuple[int, Row]], names: Sequence[str]) -> Pair:
    sides = [_side(*found[name]) if name in found else None for name in names]
    rows = [found[name][1] for name in names if name in found]
    first, last = rows[0], rows[-1]
    change, apart = "", False
    if first.ratio and last.ratio:
        change = text.percent(last.ratio / first.ratio - 1, signed=True)
        if first.ends and last.ends:
            apart = last.ends[0] > first.ends[1] or last.ends[1] < first.ends[0]
    return Pair(key[2], key[3], key[1], sides, change, apart)


def _side(number: int, row: Row) -> Side:
    measured = row.limit_text or f"{row.ratio_text} {row.interval_text}".strip()
    seconds = "" if row.candidate_seconds is None else text.seconds(row.candidate_seconds)
    return Side(number, row.verdict, measured, seconds)
