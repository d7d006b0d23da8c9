"""A gate over time: the ratio of each session that a history has, with its interval, against the bound."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from statistics import median

from pytest_kgate.report import format as text
from pytest_kgate.report.page.html.figures.figure import LEFT
from pytest_kgate.report.page.html.figures.figure import RIGHT
from pytest_kgate.report.page.html.figures.figure import Drawing
from pytest_kgate.report.page.html.figures.figure import Figure
from pytest_kgate.report.page.html.figures.figure import Scale
from pytest_kgate.report.page.html.figures.figure import Table
from pytest_kgate.report.together.history.point import Point
from pytest_kgate.report.together.history.series import Series
from pytest_kgate.report.together.history.series import day

_HEIGHT = 90

_TOP = 12

_MOST = 200
"""Sessions that are drawn, the latest."""

_ROWS = 20
"""Of the table."""

_WIDEST = 0.5
"""Of the vertical axis, to each side of the middle: what lies further off is drawn at the edge."""


def figures(series: Sequence[Series]) -> Iterator[Figure]:
    """A figure for each series with two sessions or more."""
    for one in series:
        raced = one.raced[-_MOST:]
        if len(raced) > 1:
            yield _figure(one, raced)


def _figure(one: Series, raced: Sequence[Point]) -> Figure:
    ratios = [point.ratio or 0.0 for point in raced]
    ends = [value for point in raced for value in (point.low, point.high) if value is not None]
    middle = median(ratios)
    low, high = max(min(ratios + ends), middle * (1 - _WIDEST)), min(max(ratios + ends), middle * (1 + _WIDEST))
    bound = raced[-1].bound
    near = [] if bound is None or not 2 * low - high < bound < 2 * high - low else [bound]
    low, high = min([low, *near]), max([high, *near])
    margin = max((high - low) * 0.06, middle * 1e-4)
    down = Scale(low - margin, high + margin, _TOP + _HEIGHT, _TOP)
    across = Scale(-0.5, len(raced) - 0.5, LEFT, RIGHT)
    drawing = Drawing()
    ticks = down.ticks(2)
    decimals = text.decimals_for(*(ticks if len(ticks) > 1 else (low, high)))
    drawing.down(down, [(tick, text.ratio(tick, decimals)) for tick in ticks])
    for value in near:
        drawing.line("bound", [(LEFT, down(value)), (RIGHT, down(value))])
        drawing.word(f"bound {text.bound(value)}", RIGHT, down(value) - 3, "end", "bound")
    if bound is not None and not near:
        drawing.word(f"bound {text.bound(bound)}, far off", RIGHT, _TOP - 3, "end", "bound")
    for number, point in enumerate(raced):
        if point.low is not None and point.high is not None:
            drawing.line("candidate", [(across(number), down(point.low)), (across(number), down(point.high))])
    drawing.dots("candidate strong", ((across(number), down(ratio)) for number, ratio in enumerate(ratios)))
    drawing.word(day(raced[0]), across(0), _TOP + _HEIGHT + 14)
    drawing.word(day(raced[-1]), across(len(raced) - 1), _TOP + _HEIGHT + 14, "end")
    name = one.title.removeprefix(one.test).removeprefix(", ")
    return Figure(
        title=f"Over time{f', {name}' if name else ''}",
        caption=f"The ratio in {text.counted(len(raced), 'session')} with its interval, on whatever machine. Sessions "
        "are measured apart: no verdict follows from what differs between them.",
        height=_TOP + _HEIGHT + 20,
        lines=drawing.lines,
        words=drawing.words,
        table=Table(("day", "commit", "GPU", "ratio", "latency"), [_row(point) for point in raced[-_ROWS:]], 3),
    )


def _row(point: Point) -> tuple[str, ...]:
    commit = f"{point.commit[:10]}{' and changes' if point.dirty else ''}" if point.commit else ""
    ratio = text.ratio(point.ratio or 0.0)
    if point.low is not None and point.high is not None:
        ratio = f"{ratio} {text.interval(point.low, point.high)}"
    return day(point), commit, point.gpu or point.device or "", ratio, text.seconds(point.candidate_seconds)
