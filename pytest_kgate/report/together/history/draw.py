"""A history drawn in a terminal, in ASCII as all that is printed: each series in a line, or one of them at length."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator
from collections.abc import Sequence
from statistics import median

from pytest_kgate.report import format as text
from pytest_kgate.report.together.history.changes import Change
from pytest_kgate.report.together.history.point import Point
from pytest_kgate.report.together.history.series import Series
from pytest_kgate.report.together.history.series import day
from pytest_kgate.report.together.history.series import machine

_LEVELS = "_.-'^"
"""Of a trend in one line, from the least ratio to the largest."""

_TREND = 16
"""Its columns; half as many where there is little room."""

_NARROW = 100
"""Columns of a terminal: with fewer, intervals are left to the drawing at length, so that names have room."""

_ROWS = 11
"""Of a drawing."""

_MARGIN = 9
"""Left of it, for ratios."""

_FLAT = 0.002
"""A drawing spans at least this share of the ratio to each side: what is less is noise, and should look so."""


def overview(series: Sequence[Series], width: int) -> list[str]:
    """A line for each series: how many gates, the trend, the latest ratio, and what it was at first."""
    rows = [row for one in series if (row := _row(one, narrow=width < _NARROW)) is not None]
    if not rows:
        return ["No gate with a ratio."]
    head = ("test", "gates", "trend", "latest", "change", "verdict")
    sizes = [max(len(row[place]) for row in (head, *rows)) for place in range(1, len(head))]
    name = max(16, min(max(len(row[0]) for row in rows), width - sum(sizes) - 2 * len(sizes)))
    return [_aligned(row, [name, *sizes]) for row in (head, *rows)]


def _row(one: Series, *, narrow: bool) -> tuple[str, ...] | None:
    raced = one.raced
    if not raced:
        return None
    last = raced[-1]
    columns = trend(raced, _TREND // 2 if narrow else _TREND)
    latest = text.ratio(last.ratio or 0.0) if narrow else _measured(last)
    return (one.title, str(len(raced)), columns, latest, _change(raced[0], last), last.verdict)


def _aligned(row: Sequence[str], sizes: Sequence[int]) -> str:
    name = row[0] if len(row[0]) <= sizes[0] else f"...{row[0][3 - sizes[0] :]}"  # its end tells tests apart
    cells = [name.ljust(sizes[0]), row[1].rjust(sizes[1])]
    cells += [cell.ljust(size) for cell, size in zip(row[2:], sizes[2:], strict=True)]
    return "  ".join(cells).rstrip()


def trend(raced: Sequence[Point], most: int) -> str:
    """The ratios over time in at most so many columns, from the least to the largest."""
    columns = [median(point.ratio or 0.0 for point in part) for part in _parts(raced, most)]
    low, high = _span(columns)
    return "".join(_LEVELS[min(len(_LEVELS) - 1, int((one - low) / (high - low) * len(_LEVELS)))] for one in columns)


def chart(one: Series, width: int, changes: Sequence[Change] = ()) -> list[str]:
    """One series at length: its ratios with their intervals over time, then its latencies by machine."""
    raced = one.raced
    if not raced:
        return [one.title, "  no gate with a ratio"]
    first, last = raced[0], raced[-1]
    references = list(dict.fromkeys(point.reference for point in raced))
    commit = _commit(last)
    where = f"at {commit}" if commit else f"on {day(last)}"
    said = [f"latest  {_measured(last)} {where}, {last.verdict}{_change_told(first, last)}"]
    said += [f"advice  {change.line}" for change in changes]
    return [
        one.title,
        f"  ratio to {', then '.join(references[-2:])}, lower is faster; | is an interval",
        *_drawing(raced, width, changes),
        *(line for each in said for line in _wrapped(each, width, 2)),
        *_latencies(one, width),
    ]


def _wrapped(line: str, width: int, indent: int) -> list[str]:
    return textwrap.wrap(
        line,
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _drawing(raced: Sequence[Point], width: int, changes: Sequence[Change]) -> Iterator[str]:
    parts = _parts(raced, width - _MARGIN - 1)
    bounds = {point.bound for point in raced if point.bound is not None}
    ends = [value for point in raced for value in (point.low, point.ratio, point.high) if value is not None]
    low, high = _span([median(point.ratio or 0.0 for point in part) for part in parts])
    # A single wide interval may leave the drawing; the ratios themselves must not.
    widths = [point.high - point.low for point in raced if point.low is not None and point.high is not None]
    room = 0.6 * median(widths or [0.0])
    low, high = min(low, max(min(ends), low - room)), max(high, min(max(ends), high + room))
    bound = raced[-1].bound
    shown_bound = bound is not None and len(bounds) == 1 and low - (high - low) < bound < high + (high - low)
    if shown_bound and bound is not None:
        low, high = min(low, bound), max(high, bound)
    rows = [[" "] * len(parts) for _ in range(_ROWS)]
    if shown_bound and bound is not None:
        rows[_place(bound, low, high)] = ["-"] * len(parts)
    for column, part in enumerate(parts):
        middle = median(point.ratio or 0.0 for point in part)
        least = median(point.low if point.low is not None else middle for point in part)
        most = median(point.high if point.high is not None else middle for point in part)
        for row in range(_place(most, low, high), _place(least, low, high) + 1):
            rows[row][column] = "|"
        rows[_place(middle, low, high)][column] = "o"
    decimals = text.decimals_for(low, high)
    for number, cells in enumerate(rows):
        value = high - (high - low) * number / (_ROWS - 1)
        label = text.ratio(value, decimals) if number % 5 == 0 else ""
        yield f"{label:>{_MARGIN - 1}} {''.join(cells)}".rstrip()
    marks = [" "] * len(parts)
    for change in changes:
        marks[min(len(parts) - 1, change.index * len(parts) // len(raced))] = "^"
    if changes:
        yield f"{'':>{_MARGIN}}{''.join(marks)}".rstrip()
    count = text.counted(len(raced), "gate")
    days = dict.fromkeys(day(point) for point in (raced[0], raced[-1]))
    yield f"{'':>{_MARGIN}}{count}, {' to '.join(days)}"


def _place(value: float, low: float, high: float) -> int:
    share = (high - value) / (high - low)
    return min(_ROWS - 1, max(0, round(share * (_ROWS - 1))))


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    middle = (low + high) / 2
    return min(low, middle * (1 - _FLAT)), max(high, middle * (1 + _FLAT))


def _parts(points: Sequence[Point], most: int) -> list[Sequence[Point]]:
    """The points in order, in at most so many groups of nearly equal size."""
    count = min(most, len(points))
    ends = [len(points) * place // count for place in range(count + 1)]
    return [points[start:end] for start, end in itertools.pairwise(ends)]


def _latencies(one: Series, width: int) -> Iterator[str]:
    groups = one.by_conditions
    yield "  latency, compared under equal conditions only"
    for group in groups[-4:]:
        first, last = group[0].candidate_seconds, group[-1].candidate_seconds
        moved = f", {_percent(last / first - 1)} {_since(group[0], group[-1])}" if len(group) > 1 else ""
        yield f"    {text.seconds(last)}{moved} ({text.counted(len(group), 'gate')})"
        yield from _wrapped(machine(group[-1]), width, 6)
    if len(groups) > 4:
        yield f"    and {len(groups) - 4} earlier conditions"


def _measured(point: Point) -> str:
    assert point.ratio is not None
    if point.low is None or point.high is None:
        return text.ratio(point.ratio)
    decimals = text.decimals_for(point.low, point.high)
    return f"{text.ratio(point.ratio, decimals)} {text.interval(point.low, point.high, decimals)}"


def _change_told(first: Point, last: Point) -> str:
    change = _change(first, last)
    return f"; {change} {_since(first, last)}" if change else ""


def _change(first: Point, last: Point) -> str:
    if first is last or not first.ratio or last.ratio is None:
        return ""
    return _percent(last.ratio / first.ratio - 1)


def _percent(change: float) -> str:
    return f"{100 * change:+.1f} %"


def _since(first: Point, last: Point) -> str:
    """By the first one's commit; of a gate outside of a git checkout, by its day."""
    commit = _commit(first)
    if commit:
        return f"since {commit}"
    return "since the first gate" if day(first) == day(last) else f"since {day(first)}"


def _commit(point: Point) -> str | None:
    if point.commit is None:
        return None
    return f"{point.commit[:10]}{' and changes' if point.dirty else ''}"
