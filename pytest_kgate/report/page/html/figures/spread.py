"""How latencies are spread: a histogram of both arms, and their quantiles side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.page.html.figures.figure import LEFT
from pytest_kgate.report.page.html.figures.figure import RIGHT
from pytest_kgate.report.page.html.figures.figure import Drawing
from pytest_kgate.report.page.html.figures.figure import Figure
from pytest_kgate.report.page.html.figures.figure import Scale
from pytest_kgate.report.page.html.figures.figure import Table
from pytest_kgate.report.page.html.figures.medians import median

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_kgate.statistics.gate_facts import PercentileFacts

_BINS = 16
"""Bars of an arm, at least; their width is a round number."""

_FINEST = 1e-5
"""Width of a bar, at least: samples may all be alike."""

_HEIGHT = 60
"""Of the bars of one arm."""

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


def histogram(arms: Sequence[NDArray[np.float64]], names: Sequence[str]) -> Figure | None:
    """Both arms, the candidate upwards and the reference downwards, by distance from their own medians."""
    import numpy as np

    if not all(array.size for array in arms):
        return None
    middles = [median(array) for array in arms]
    if min(middles) <= 0:
        return None
    deviations = [array.ravel() / middle - 1 for array, middle in zip(arms, middles, strict=True)]
    widest = max(float(np.quantile(np.abs(one), 0.98)) for one in deviations)
    step = max(Scale(0, 2 * widest, 0, 1).step(_BINS), _FINEST)
    side = math.ceil(widest / step - 0.5)  # bins to each side of that around the median
    places = [np.clip(np.rint(one / step).astype(int), -side, side) + side for one in deviations]
    counts = [np.bincount(one, minlength=2 * side + 1) for one in places]
    shares = [count / count.sum() for count in counts]
    tallest = max(float(share.max()) for share in shares)
    middle = 14.0 + _HEIGHT
    width = round((RIGHT - LEFT) / (2 * side + 1), 1)
    drawing = Drawing()
    for css, direction, share in zip(("candidate", "reference"), (-1, 1), shares, strict=True):
        drawing.bars(css, LEFT, width, middle, (middle + direction * share / tallest * _HEIGHT).tolist())
    drawing.line("axis", [(LEFT, middle), (RIGHT, middle)])
    drawing.word(names[0], LEFT, 11, css="head")
    drawing.word(names[1], LEFT, middle + _HEIGHT + 10, css="head")
    across = Scale(-(side + 0.5) * step, (side + 0.5) * step, LEFT, RIGHT)
    for tick in across.ticks(3):
        label = "median" if abs(tick) < step / 1000 else f"{100 * tick:+.3g} %"
        place = across(tick)
        drawing.line("axis", [(place, 14), (place, middle + _HEIGHT)])
        drawing.word(label, place, middle + _HEIGHT + 24, "middle")
    rows = [
        (f"{100 * step * place:+.3g} %", str(one), str(other))
        for place, one, other in zip(range(-side, side + 1), *(count.tolist() for count in counts), strict=True)
        if one or other
    ]
    return Figure(
        title="Distribution of samples",
        caption=f"Distance from the arm's own median, in steps of {100 * step:.3g} %. "
        "The outermost bars hold all that lies further out.",
        height=middle + _HEIGHT + 30,
        lines=drawing.lines,
        words=drawing.words,
        table=Table(("from the median", *names), rows),
    )


def ladder(
    arms: Sequence[NDArray[np.float64]],
    names: Sequence[str],
    bounds: Sequence[tuple[float, float]],
    percentiles: Sequence[Sequence[PercentileFacts]],
) -> Figure:
    """The quantiles of all samples, and their ratios drawn; `bounds` are (quantile, bound) of the gates.

    `percentiles` are what can be said of each arm's: those that its samples can't carry are not drawn.
    """
    import numpy as np

    known = [{one["quantile"]: one for one in each} for each in percentiles]
    carried, ratios, rows = [], [], []
    nothing = [math.nan] * len(QUANTILES)
    estimates = [np.quantile(array, QUANTILES).tolist() if array.size else nothing for array in arms]
    for quantile, *values in zip(QUANTILES, *estimates, strict=True):
        found = [one.get(quantile) for one in known]
        cells = [text.seconds(value) for value in values]
        cells = [cell if one is None else text.percentile(one) for cell, one in zip(cells, found, strict=True)]
        ratio = ""
        if all(one is None or one["upper_seconds"] is not None for one in found) and values[1] > 0:
            carried.append(quantile)
            ratios.append(values[0] / values[1])
            ratio = text.ratio(ratios[-1], 4)
        rows.append((f"p{quantile * 100:g}", *cells, ratio))
    table = Table(("quantile", *names, "ratio"), rows)
    finite = [ratio for ratio in ratios if math.isfinite(ratio) and ratio > 0]
    title = "Quantile ladder"
    caption = "The ratio of the arms' quantiles of all samples. Faint ones would take more samples."
    if not finite:
        return Figure(title=title, caption=caption, table=table)
    near = [(quantile, bound) for quantile, bound in bounds if 0.5 < bound / finite[len(finite) // 2] < 2]
    ends = [*finite, *(bound for _, bound in near)]
    margin = max((max(ends) - min(ends)) * 0.1, max(ends) * 0.002)
    down = Scale(min(ends) - margin, max(ends) + margin, 110, 12)
    across = Scale(-0.3, len(QUANTILES) - 0.7, LEFT, RIGHT)
    drawing = Drawing()
    ticks = down.ticks(2)
    decimals = text.decimals_for(*(ticks if len(ticks) > 1 else (min(ends), max(ends))))
    drawing.down(down, [(tick, text.ratio(tick, decimals)) for tick in ticks])
    for index, quantile in enumerate(QUANTILES):
        css = "" if quantile in carried else "faint"
        drawing.word(f"p{quantile * 100:g}", across(index), 126, "middle", css)
    for quantile, bound in near:
        place = down(bound)
        at = across(_place(quantile))
        drawing.line("bound", [(at - 16, place), (at + 16, place)])
        drawing.word(f"bound {text.bound(bound)}", at, place - 3, "middle", "bound")
    points = [(across(_place(quantile)), down(ratio)) for quantile, ratio in zip(carried, ratios, strict=True)]
    drawing.line("ratio", points)
    drawing.dots("ratio strong", points)
    return Figure(title=title, caption=caption, height=132, lines=drawing.lines, words=drawing.words, table=table)


def _place(quantile: float) -> float:
    """Where a quantile stands between those of the ladder, counted from 0."""
    if quantile in QUANTILES:
        return float(QUANTILES.index(quantile))
    import numpy as np

    return float(np.interp(quantile, QUANTILES, range(len(QUANTILES))))
