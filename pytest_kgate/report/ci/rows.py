"""One row a gate for other programs: CSV and JSON with the same columns. Times are seconds."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeAlias

from pytest_kgate.report.ci.untrusted import cell
from pytest_kgate.report.format import visible
from pytest_kgate.report.record.samples import percentiles_of
from pytest_kgate.report.record.values import finite
from pytest_kgate.report.rows import rows_of

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.report.rows import Row

Value: TypeAlias = str | float | None

_PERCENTILES = (0.5, 0.9, 0.95, 0.99)
"""Of each arm's latency, as all records have them."""

_OF_PERCENTILES = {
    "seconds": "estimate_seconds",
    "low": "low_seconds",
    "high": "high_seconds",
    "upper": "upper_seconds",
    "more_samples": "missing_samples",
}
"""The columns of each, and how records call them."""

COLUMNS = (
    *("test", "call", "attempt", "started", "candidate", "problem", "dtype", "reference", "backend"),
    *("candidate_seconds", "reference_seconds", "ratio", "ratio_low", "ratio_high", "confidence", "bound", "error"),
    *("limit", "limit_value", "limit_sense", "limit_unit", "rounds", "verdict", "reason", "notes", "device"),
    *(
        f"{arm}_p{100 * quantile:g}_{what}"
        for arm in ("candidate", "reference")
        for quantile in _PERCENTILES
        for what in _OF_PERCENTILES
    ),
)
"""In this order. What a row has no value for is empty in CSV, null in JSON. Of a percentile `low` and `high` are the
ends of its interval, `upper` its bound on one side, where the samples can carry them, and `more_samples` how many more
such a bound takes."""


def as_csv(records: Iterable[Record]) -> str:
    """A line of names, then one a gate; texts hold no line ends, and are no formulas."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in _rows(records):
        writer.writerow([cell(one) if isinstance(one, str) else one for one in row.values()])
    return file.getvalue()


def as_json(records: Iterable[Record]) -> str:
    """The rows as a list of objects in JSON, one on each line."""
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
        *(finite(one) for one in (row.candidate_seconds, row.reference_seconds, row.ratio)),
        *(finite(one) for one in row.ends or (None, None)),
        *(finite(row.confidence), finite(limit["bound"] if limit else row.bound), finite(row.error)),
        *((limit["name"], finite(limit["value"]), limit["sense"], limit["unit"]) if limit else (None,) * 4),
        *(row.rounds, row.verdict, visible(limit["reason"] if limit else record["reason"]), row.notes),
        visible(str(gpu.get("name") or cpu.get("model") or "")),
        *percentile_figures(record).values(),
    )


def percentile_figures(record: Record) -> dict[str, float | None]:
    """All columns of percentiles, `candidate_p99_seconds` and so on; None where there is no such number."""
    timing = record["timing"]
    found: dict[str, float | None] = {}
    arms = (("candidate", timing["candidate"]), ("reference", timing["reference"])) if timing else ()
    for name, arm in arms or (("candidate", None), ("reference", None)):
        known: dict[float, Mapping[str, Any]] = {one["quantile"]: {**one} for one in percentiles_of(arm)} if arm else {}
        for quantile in _PERCENTILES:
            facts = known.get(quantile, {})
            start = f"{name}_p{100 * quantile:g}"
            found |= {f"{start}_{what}": finite(facts.get(key)) for what, key in _OF_PERCENTILES.items()}
    return found
