"""One row a gate for other programs: CSV and JSON with the same columns. Times are seconds."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING
from typing import TypeAlias

from pytest_kgate.report.ci.untrusted import cell
from pytest_kgate.report.ci.untrusted import visible
from pytest_kgate.report.rows import number
from pytest_kgate.report.rows import rows_of

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.report.rows import Row

Value: TypeAlias = str | float | None

_PERCENTILES = (0.5, 0.9, 0.95, 0.99)
"""Of each arm's latency, as records have them."""

COLUMNS = (
    *("test", "call", "attempt", "started", "candidate", "problem", "dtype", "reference", "backend"),
    *("candidate_seconds", "reference_seconds", "ratio", "ratio_low", "ratio_high", "confidence", "bound", "error"),
    *("limit", "limit_value", "limit_sense", "limit_unit", "rounds", "verdict", "reason", "notes", "device"),
    *(
        f"{arm}_p{100 * quantile:g}_{what}"
        for arm in ("candidate", "reference")
        for quantile in _PERCENTILES
        for what in ("seconds", "low", "high")
    ),
)
"""In this order. What a row has no value for is empty in CSV, null in JSON. Of a percentile `low` and `high` are the
ends of its interval, where the samples can carry one."""


def as_csv(records: Iterable[Record]) -> str:
    """A line of names, then one a gate; texts hold no line ends, and are no formulas."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in _rows(records):
        writer.writerow([cell(one) if isinstance(one, str) else one for one in row.values()])
    return file.getvalue()


def as_json(records: Iterable[Record]) -> str:
    """A list of objects, one on each line."""
    rows = [json.dumps(row, allow_nan=False) for row in _rows(records)]
    return "[\n" + ",\n".join(rows) + "\n]\n" if rows else "[]\n"


def _rows(records: Iterable[Record]) -> list[dict[str, Value]]:
    return [dict(zip(COLUMNS, _values(record, row), strict=True)) for record in records for row in rows_of([record])]


def _values(record: Record, row: Row) -> tuple[Value, ...]:
    environment = record["environment"]
    gpu, cpu = environment.get("gpu") or {}, environment.get("cpu") or {}
    limit = row.limit
    return (
        *(visible(record["test"]), record["call"], record.get("attempt", 1), record["started"]),
        *(visible(one) for one in (row.candidate, row.problem, row.dtype, row.reference, row.backend)),
        *(_finite(one) for one in (row.candidate_seconds, row.reference_seconds, row.ratio)),
        *(_finite(one) for one in row.ends or (None, None)),
        *(_finite(row.confidence), _finite(limit["bound"] if limit else row.bound), _finite(row.error)),
        *((limit["name"], _finite(limit["value"]), limit["sense"], limit["unit"]) if limit else (None,) * 4),
        *(row.rounds, row.verdict, visible(limit["reason"] if limit else record["reason"]), row.notes),
        visible(str(gpu.get("name") or cpu.get("model") or "")),
        *_percentiles(record),
    )


def _percentiles(record: Record) -> list[float | None]:
    timing = record["timing"]
    found: list[float | None] = []
    for arm in (timing["candidate"], timing["reference"]) if timing else (None, None):
        known = {one["quantile"]: one for one in arm.get("percentiles", ())} if arm else {}
        for quantile in _PERCENTILES:
            one = known.get(quantile)
            if one is None:
                found += (None, None, None)
            else:
                found += (_finite(number(one["estimate_seconds"])), one["low_seconds"], one["high_seconds"])
    return found


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
