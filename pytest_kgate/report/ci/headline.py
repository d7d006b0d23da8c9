"""A record in one line, for places that have room for no more: a failure's message, an annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.report.rows import Row
from pytest_kgate.report.rows import rows_of

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record


def figures(record: Record) -> str:
    """What was measured and what was demanded, of all that does not pass; else of all.

    `ratio 1.209 [1.198, 1.221], bound 0.95`; empty where nothing was measured.
    """
    rows = rows_of([record])
    missed = [row for row in rows if not VERDICTS[row.verdict].passes]
    return "; ".join(found for found in map(_figures, missed or rows) if found)


def _figures(row: Row) -> str:
    if row.limit is not None:
        return f"{row.limit_text or row.limit['name']}, bound {row.bound_text}"
    if row.error is not None:
        return f"error {text.error(row.error)}, allowed {row.bound_text}"
    if row.ratio is None:
        return ""
    notes = f"{row.notes} " if row.notes else ""
    bound = f", bound {row.bound_text}" if row.bound is not None else ""
    return f"{notes}ratio {row.ratio_text} {row.interval_text}".rstrip() + bound
