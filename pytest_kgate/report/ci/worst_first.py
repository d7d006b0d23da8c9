"""Gates in the order in which a reviewer wants them: what is broken first, the furthest off of these first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.report.rows import Row
from pytest_kgate.report.rows import rows_of

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record


@dataclass(frozen=True)
class Judged:
    """A row with the record that it is of."""

    row: Row
    record: Record

    @property
    def test(self) -> str:
        """The whole node id, and what tells this gate from others of the test."""
        return " ".join(part for part in (self.record["test"], self.row.notes) if part)

    @property
    def measured(self) -> str:
        """`0.612 [0.604, 0.619]`, `error 3.1e-01`, `registers 80`; or empty."""
        row = self.row
        if row.limit is not None:
            return row.limit_text
        if row.error is not None:
            return f"error {text.error(row.error)}"
        return " ".join(part for part in (row.ratio_text, row.interval_text) if part)

    @property
    def target(self) -> str:
        """`ratio < 0.95`, `error <= 2e-03`, `<= 72`; or empty."""
        row = self.row
        if row.limit is not None or not row.bound_text:
            return row.bound_text
        return f"< {row.bound_text}" if row.error is None else f"<= {row.bound_text}"


def worst_first(records: Iterable[Record]) -> list[Judged]:
    """All rows, ordered by the rank of their verdict and how far they are off; else as recorded."""
    found = [Judged(row, record) for record in records for row in rows_of([record])]
    return sorted(found, key=lambda one: (VERDICTS[one.row.verdict].rank, -_distance(one.row)))


def _distance(row: Row) -> float:
    """How far above its bound a ratio is, 0 where that is not known; what passes stays in its order."""
    if VERDICTS[row.verdict].passes or row.ratio is None or not row.ratio_bound:
        return 0.0
    return row.ratio / row.ratio_bound
