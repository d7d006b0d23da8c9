"""The shipped implementations as a Markdown table: the idea of each, and its latency and counters on one problem."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.page import markdown
from pytest_kgate.report.rows import Row
from pytest_kgate.report.rows import rows_of

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

MISSION = (1, 8, 512, 64)
"""Batch, heads, sequence length and head dimension at which the implementations are compared."""

_MASKS = (False, True)
"""Without and with a causal mask."""

_HEAD = ("implementation", "idea", "latency", "against", "ratio", "ratio, causal", "bound", "verdict")
_COUNTED = ("tensor", "SM", "DRAM", "registers")
"""Of Nsight Compute, where a record has counters: both pipes' share of the time, and device memory's traffic over the
problem's own bytes."""

_RIGHT = ("latency", "ratio", "ratio, causal", "bound", *_COUNTED)


@dataclass(frozen=True)
class Rung:
    """A shipped implementation."""

    name: str
    """The implementation's name in records."""
    idea: str
    """In a few words, for the table."""
    status: str
    """`ready`, or why it is not."""


def table(records: Iterable[Record], rungs: Iterable[Rung]) -> str:
    """One row for each of `rungs`, in the order given, and below on what they were measured.

    What counts is a record of a build without knobs at `MISSION`, hot cache: the latest of those raced against the
    fastest of several references, or else of those against one that the test named; its first gate at the median.
    Records with counters fill the columns of these, and the others only where no other record does.
    """
    raced, counted = _parted(records)
    used: list[Record] = []
    lines = []
    for rung in rungs:
        found = [_comparable(raced, rung.name, causal) or _comparable(counted, rung.name, causal) for causal in _MASKS]
        counters = _comparable(counted, rung.name, causal=False)
        used += [record for record in (*found, counters) if record is not None]
        lines.append((rung.name, rung.idea, *_cells(rung, found), *(_counts(counters) if counted else ())))
    head = (*_HEAD, *_COUNTED) if counted else _HEAD
    return markdown.grid(head, set(_RIGHT) & set(head), lines) + markdown.conditions(used)


def _parted(records: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """Those without counters, and those with."""
    parts: tuple[list[Record], list[Record]] = ([], [])
    for record in records:
        counters = record.get("counters")
        parts[counters is not None and counters["candidate"] is not None].append(record)
    return parts


def _counts(record: Record | None) -> tuple[str, ...]:
    if record is None:
        return ("",) * len(_COUNTED)
    candidate = record["counters"]["candidate"]
    assert candidate is not None
    metrics = candidate["metrics"]

    def share(name: str) -> str:
        return f"{metrics[name]['value']:.1f} %" if name in metrics else ""

    needed = record["problem"]["bytes"]
    moved = f"{metrics['dram_bytes']['value'] / needed:.2f}x" if needed and "dram_bytes" in metrics else ""
    registers = f"{metrics['registers']['value']:.0f}" if "registers" in metrics else ""
    return share("tensor"), share("sm"), moved, registers


def _comparable(records: Iterable[Record], name: str, causal: bool) -> Record | None:
    fitting = [
        record
        for record in records
        if record["candidate"]["implementation"] == name
        and "against" not in record
        and not record["candidate"]["knobs"]
        and tuple(record["problem"]["shape"] or ()) == MISSION
        and bool(record["problem"]["causal"]) == causal
        and (record["timing"] is None or record["timing"]["cache"] == "hot")
    ]
    return max(fitting, key=lambda record: (_fastest(record), record["started"]), default=None)


def _fastest(record: Record) -> bool:
    """Whether this record's reference was chosen as the fastest of several."""
    return record["reference"] is not None and len(record["reference"]["choices"]) > 1


def _row(record: Record) -> Row:
    rows = rows_of([record])
    return next((row for row in rows if row.bound is not None and not row.notes), rows[0])


def _reference(record: Record, row: Row) -> str:
    """The reference's name, such as `sdpa cudnn`, marked where the test named it, so that others may be faster."""
    return f"{row.reference} {row.backend}{'' if _fastest(record) else ' (named)'}" if row.backend else row.reference


def _cells(rung: Rung, records: Sequence[Record | None]) -> tuple[str, ...]:
    rows = [None if record is None else _row(record) for record in records]
    full, causal = rows
    measured = [row for row in rows if row is not None]
    references = [_reference(record, row) for record, row in zip(records, rows, strict=True) if record and row]
    unmeasured = "not measured" if rung.status == "ready" else rung.status
    return (
        "" if full is None or full.candidate_seconds is None else text.seconds(full.candidate_seconds),
        ", ".join(dict.fromkeys(references)),
        "" if full is None else full.ratio_text,
        "" if causal is None else causal.ratio_text,
        ", ".join(dict.fromkeys(row.bound_text for row in measured)),
        ", ".join(dict.fromkeys(row.verdict for row in measured)) or unmeasured,
    )
