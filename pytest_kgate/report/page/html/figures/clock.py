"""What the device said of itself while the race ran: its clock round by round."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_kgate.report.page.html.figures.figure import LEFT
from pytest_kgate.report.page.html.figures.figure import RIGHT
from pytest_kgate.report.page.html.figures.figure import Drawing
from pytest_kgate.report.page.html.figures.figure import Figure
from pytest_kgate.report.page.html.figures.figure import Scale
from pytest_kgate.report.page.html.figures.figure import Table

_LEAST_SPAN = 0.02
"""Of the axis, as a fraction of the clock: steps of a thousandth shall not look like a cliff."""

_ROWS = 96


def figure(clocks: Sequence[float]) -> Figure | None:
    """The SM clock in hertz, one value a round; None without any."""
    if not clocks or min(clocks) <= 0:
        return None
    low, high = min(clocks), max(clocks)
    middle = (low + high) / 2
    half = max((high - low) * 0.6, middle * _LEAST_SPAN / 2)
    down = Scale(middle - half, middle + half, 84, 12)
    across = Scale(-0.5, len(clocks) - 0.5, LEFT, RIGHT)
    drawing = Drawing()
    drawing.down(down, [(tick, f"{tick / 1e6:.0f}") for tick in down.ticks(2)])
    points = [(across(number), down(value)) for number, value in enumerate(clocks)]
    drawing.line("ratio", points)
    drawing.dots("ratio", points)
    drawing.word("round 1", across(0), 98)
    drawing.word(str(len(clocks)), RIGHT, 98, "end")
    every = max(1, -(-len(clocks) // _ROWS))
    rows = [(str(number + 1), f"{clocks[number] / 1e6:.1f}") for number in range(0, len(clocks), every)]
    return Figure(
        title="SM clock, round by round",
        caption="In MHz, read in the stream around the samples." + (f" Every {every}th round." if every > 1 else ""),
        height=104,
        lines=drawing.lines,
        words=drawing.words,
        table=Table(("round", "MHz"), rows, numbers_from=0),
    )
