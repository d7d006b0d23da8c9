"""Ratios over a grid of problems: a table of candidates by problem, coloured by how far a ratio is from 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kgate.report.record.verdicts import VERDICTS

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.report.rows import Row

_STEPS = 4
"""Shades to each side of 1."""

_FURTHEST = 2.0
"""The ratio, or one over it, from which on the shade is the darkest."""


@dataclass(frozen=True)
class Cell:
    """One candidate on one problem."""

    number: int
    """Of the record, from 0."""
    ratio: str
    """Empty where there was no race."""
    verdict: str
    shade: int
    """From -4, much faster than the reference, to 4, much slower; 0 is as fast, or not raced."""


@dataclass(frozen=True)
class Heatmap:
    """A heatmap of latency ratios: a row a problem, a column a candidate."""

    candidates: Sequence[str]
    """Of each column."""
    rows: Sequence[tuple[str, Sequence[Cell | None]]]
    """Problems, each with a cell for each candidate, or None."""


def heatmap(records: Sequence[Record], rows: Sequence[Sequence[Row]]) -> Heatmap | None:
    """The heatmap of the median ratios; None where there are fewer than two problems, so that there is no grid.

    `rows` are those of each record.

    Of several records of a candidate on a problem the worst is shown, by verdict and then by ratio.
    """
    found: dict[tuple[str, str], tuple[int, float, Cell]] = {}
    for number, (record, found_rows) in enumerate(zip(records, rows, strict=True)):
        row = next((one for one in found_rows if one.limit is None), None)
        if row is None:
            continue
        ratio = row.ratio if row.ratio is not None and math.isfinite(row.ratio) and row.ratio > 0 else None
        cell = Cell(number, "" if ratio is None else row.ratio_text, record["verdict"], _shade(ratio))
        key = (record["problem"]["name"], record["candidate"]["name"])
        worse = (-VERDICTS[record["verdict"]].rank, ratio or 0.0, cell)
        found[key] = max(found.get(key, worse), worse, key=lambda one: one[:2])
    problems = list(dict.fromkeys(problem for problem, _ in found))
    if len(problems) < 2:
        return None
    candidates = list(dict.fromkeys(candidate for _, candidate in found))
    cells = {key: one[2] for key, one in found.items()}
    return Heatmap(candidates, [(name, [cells.get((name, one)) for one in candidates]) for name in problems])


def _shade(ratio: float | None) -> int:
    if ratio is None:
        return 0
    share = math.log(ratio) / math.log(_FURTHEST)
    return round(max(-1.0, min(1.0, share)) * _STEPS)
