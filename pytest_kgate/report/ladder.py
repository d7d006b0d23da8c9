"""The shipped implementations as a Markdown table: the idea of each, and how it fared where all are measured."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence

from pytest_kgate.build.registry import Implementation
from pytest_kgate.report import format as text
from pytest_kgate.report import markdown
from pytest_kgate.report.record import Record
from pytest_kgate.report.rows import Row
from pytest_kgate.report.rows import rows_of

MISSION = (1, 8, 512, 64)
"""Batch, heads, sequence length and head dimension at which the implementations are compared."""

_HEAD = ("implementation", "idea", "latency", "against", "ratio", "ratio, causal", "bound", "verdict")
_RIGHT = ("latency", "ratio", "ratio, causal", "bound")


def table(records: Iterable[Record], implementations: Iterable[Implementation]) -> str:
    """One row for each implementation, in the order given, and below on what they were measured.

    What counts is the latest record of a build without knobs at `MISSION`, hot cache; its first gate at the median.
    """
    records = list(records)
    used: list[Record] = []
    lines = []
    for implementation in implementations:
        found = {causal: _latest(records, implementation.name, causal) for causal in (False, True)}
        used += [record for record in found.values() if record is not None]
        rows = [None if record is None else _row(record) for record in found.values()]
        lines.append((implementation.name, implementation.description, *_cells(implementation, rows)))
    return markdown.grid(_HEAD, _RIGHT, lines) + markdown.conditions(used)


def _latest(records: Iterable[Record], name: str, causal: bool) -> Record | None:
    fitting = [
        record
        for record in records
        if record["candidate"].get("implementation") == name
        and not record["candidate"].get("knobs")
        and tuple(record["problem"].get("shape") or ()) == MISSION
        and bool(record["problem"].get("causal")) == causal
        and (record.get("timing") or {}).get("cache", "hot") == "hot"
    ]
    return max(fitting, key=lambda record: str(record.get("started", "")), default=None)


def _row(record: Record) -> Row:
    rows = rows_of([record])
    return next((row for row in rows if row.bound is not None and not row.notes), rows[0])


def _cells(implementation: Implementation, rows: Sequence[Row | None]) -> tuple[str, ...]:
    full, causal = rows
    measured = [row for row in rows if row is not None]
    verdicts = dict.fromkeys(row.verdict for row in measured)
    unmeasured = "not measured" if implementation.status == "ready" else implementation.status
    return (
        "" if full is None or full.candidate_seconds is None else text.seconds(full.candidate_seconds),
        "" if full is None else " ".join(part for part in (full.reference, full.backend) if part),
        "" if full is None else full.ratio_text,
        "" if causal is None else causal.ratio_text,
        ", ".join(dict.fromkeys(row.bound_text for row in measured)),
        ", ".join(verdicts) or unmeasured,
    )
