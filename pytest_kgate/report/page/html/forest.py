"""The forest plot: every gate's interval against its bound, all on one scale, each in a row of the table of gates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.rows import Row

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

HALF = 100
"""The drawing goes from -HALF to HALF; the bound is at 0."""

_FINE = 0.005
"""Up to this distance of log(ratio / bound) the scale is linear, beyond it logarithmic: most gates are decided by a few
per cent, and some by factors."""

_TICKS = (-0.9, -0.5, -0.2, -0.1, -0.05, -0.02, -0.01, 0.0, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 9.0)
"""Ratio over bound, less 1, where lines may be drawn."""

_LABEL_GAP = 23
"""Between two labels of the axis, at least."""


@dataclass(frozen=True)
class Bar:
    """A gate's row of the forest plot."""

    number: int
    """Of the record, from 0."""
    verdict: str
    name: str
    """The candidate's."""
    problem: str
    notes: str
    """What is unusual: the quantile, the test's second call."""
    source: str
    """The file of records."""
    interval: str
    """As a path of SVG; empty where there is none to draw."""
    dot: str
    """The estimate, as a path."""
    measured: str
    """The ratio with its interval; of a limit or an error, what was measured."""
    bound: str
    candidate: str
    """Its latency."""
    reference: str
    """Latency and name of the reference."""
    remark: str
    """Why it has the record's verdict, where nothing is drawn."""


@dataclass(frozen=True)
class Forest:
    """A forest plot: the intervals of all gates on one axis, a row each."""

    bars: Sequence[Bar]
    grid: str
    """Vertical lines, as a path."""
    ticks: Sequence[tuple[float, str]]
    """Places and labels of the axis."""


def forest(records: Sequence[Record], of_records: Sequence[Sequence[Row]], sources: Sequence[str]) -> Forest:
    """The gates of all records, in their order, with the rows and the name of the file of each record."""
    rows = [(number, row) for number, found in enumerate(of_records) for row in found]
    drawn = [row for _, row in rows if _drawable(row)]
    ends = [abs(_log(row, end)) for row in drawn for end in row.ends or ()]
    reach = math.asinh(max([0.03, *ends]) * 1.1 / _FINE)
    bars = [_bar(number, row, records[number], sources[number], reach) for number, row in rows]
    inside = [tick for tick in _TICKS if abs(_place(math.log1p(tick), reach)) < HALF]
    places = [(_place(math.log1p(tick), reach), tick) for tick in inside]
    return Forest(bars, "".join(f"M{place:g} 0v20" for place, tick in places if tick), list(_labels(places)))


def _labels(places: Sequence[tuple[float, float]]) -> Iterator[tuple[float, str]]:
    """Labels that have room, from the middle outwards."""
    for sign in (-1, 1):
        last = 0.0
        side = sorted((one for one in places if one[0] * sign > 0), key=lambda one: abs(one[0]))
        for place, tick in side:
            if abs(place) - last >= _LABEL_GAP and abs(place) < HALF - 12:
                last = abs(place)
                yield place, f"{100 * tick:+.0f} %"
    yield 0.0, "bound"


def _drawable(row: Row) -> bool:
    return row.ends is not None and all(math.isfinite(end) and end > 0 for end in (*row.ends, row.ratio or 0))


def _log(row: Row, ratio: float) -> float:
    return math.log(ratio / (row.ratio_bound or 1.0))


def _place(log: float, reach: float) -> float:
    return round(max(-1.0, min(1.0, math.asinh(log / _FINE) / reach)) * HALF, 1)


def _bar(number: int, row: Row, record: Record, source: str, reach: float) -> Bar:
    interval = dot = ""
    if _drawable(row) and row.ends is not None and row.ratio is not None:
        low, high = (_place(_log(row, end), reach) for end in row.ends)
        interval = f"M{low:g} 10H{high:g}M{low:g} 6v8M{high:g} 6v8"
        dot = f"M{_place(_log(row, row.ratio), reach):g} 10h0"
    if row.limit is not None:
        measured = row.limit_text
    elif row.error is not None:
        measured = f"error {text.error(row.error)}"
    else:
        measured = f"{row.ratio_text} {row.interval_text}".strip()
    reference = " ".join(part for part in (row.reference, row.backend) if part)
    seconds = "" if row.reference_seconds is None else text.seconds(row.reference_seconds)
    return Bar(
        number=number,
        verdict=row.verdict,
        name=row.candidate,
        problem=row.problem,
        notes=row.notes,
        source=source,
        interval=interval,
        dot=dot,
        measured=measured,
        bound=row.bound_text,
        candidate="" if row.candidate_seconds is None else text.seconds(row.candidate_seconds),
        reference=f"{seconds} {reference}".strip(),
        remark=record["reason"] if row.verdict == record["verdict"] else "",
    )
