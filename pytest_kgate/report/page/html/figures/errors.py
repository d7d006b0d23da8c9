"""Errors of both arms against the tolerance, draw by draw."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.page.html.figures.figure import LEFT
from pytest_kgate.report.page.html.figures.figure import RIGHT
from pytest_kgate.report.page.html.figures.figure import Drawing
from pytest_kgate.report.page.html.figures.figure import Figure
from pytest_kgate.report.page.html.figures.figure import Scale
from pytest_kgate.report.page.html.figures.figure import Table
from pytest_kgate.report.rows import size

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.correctness import CorrectnessFacts
    from pytest_kgate.report.record.facts.correctness import Error

_ROW = 20


def figure(found: CorrectnessFacts) -> Figure | None:
    """max |arm - exact| of each draw; None where the problem's own comparison has judged: errors say nothing then."""
    if found.get("by_equal") or not found["draws"]:
        return None
    tolerance = size(found["atol"])
    draws = [(draw["kind"], size(draw["candidate_error"]), size(draw["reference_error"])) for draw in found["draws"]]
    rows = [
        (
            f"{number}, {draw['kind']}",
            _error(draw["candidate_error"]),
            _error(draw["reference_error"]),
            _error(draw.get("candidate_rms_error", "")),
            _error(draw.get("reference_rms_error", "")),
            "" if draw.get("row_excess") is None else f"{100 * size(draw['row_excess']):.3g} %",
        )
        for number, draw in enumerate(found["draws"], start=1)
    ]
    seen = [value for _, *errors in draws for value in (*errors, tolerance) if 0 < value < math.inf]
    drawing = Drawing()
    bottom = 8 + _ROW * len(draws)
    if seen:
        across = Scale(min(seen) / 2, max(seen) * 2, LEFT + 24, RIGHT - 20, log=True)
        for tick in across.ticks(4):
            drawing.line("axis", [(across(tick), 4), (across(tick), bottom)])
            drawing.word(f"{tick:.0e}", across(tick), bottom + 13, "middle")
        if 0 < tolerance < math.inf:
            drawing.line("bound", [(across(tolerance), 4), (across(tolerance), bottom)])
        for index, (kind, candidate, reference) in enumerate(draws):
            place = 8 + _ROW * (index + 0.5)
            drawing.word(f"{index + 1} {kind}", 4, place + 3.5)
            for css, value, offset in (("candidate", candidate, -3), ("reference", reference, 3)):
                if math.isfinite(value):
                    drawing.dots(f"big {css}", [(across(value or across.low), place + offset)])
                else:
                    drawing.word("NaN or Inf", RIGHT, place + offset + 3.5, "end", css)
    relative = f" + {size(found['rtol']):g} |exact|" if found["rtol"] else ""
    times = found.get("factor")
    factor = f", its rms error at most {size(times):g} times the reference's" if times else ""
    legend = [("candidate", "candidate"), ("reference", "reference")]
    return Figure(
        title="Error against tolerance, by draw",
        caption=f"max |arm - exact|; allowed is {tolerance:g}{relative}{factor}. "
        "Logarithmic; an error of 0 is at the left end.",
        height=bottom + 18 if seen else 0,
        lines=drawing.lines,
        words=drawing.words,
        table=Table(
            ("draw", "candidate", "reference", "candidate, rms", "reference, rms", "worst row, of allowed"),
            rows,
        ),
        legend=[*legend, ("bound", "tolerance")] if tolerance > 0 else legend,
    )


def _error(value: Error | str) -> str:
    return "" if value == "" else text.error(size(value))
