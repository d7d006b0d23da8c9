"""The race: the samples of both arms by round, and the ratio that each round gave, against the bound."""

from __future__ import annotations

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
from pytest_kgate.report.page.html.figures.medians import row_medians

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PANEL = 74
"""Height of each of the three panels."""

_GAP = 24
"""Between them: room for the next one's heading."""

_WIDEST = 0.5
"""Of the vertical axis, to each side of the median: what lies further off is drawn at the edge."""


def figure(
    arms: Sequence[NDArray[np.float64]], names: Sequence[str], bounds: Sequence[float], points: int
) -> Figure | None:
    """Of the arms' samples, (rounds, samples) in seconds; None where rounds are not to be compared, or net latencies
    are below what was taken off.

    At most `points` samples of an arm are drawn.
    """
    import numpy as np

    rounds = arms[0].shape[0]
    if arms[1].shape[0] != rounds or not all(array.size and array.min() > 0 for array in arms):
        return None
    across = Scale(-0.5, max(rounds - 0.5, 0.5), LEFT, RIGHT)
    shown = _shown_rounds(rounds, points)
    medians = [row_medians(array) for array in arms]
    middles = [median(array) for array in arms]
    spread = max(float(np.max(np.abs(one / middle - 1))) for one, middle in zip(arms, middles, strict=True))
    spread = min(max(spread * 1.05, 0.002), _WIDEST)
    drawing = Drawing()
    drawn = 0
    for index, (css, array) in enumerate(zip(("candidate", "reference"), arms, strict=True)):
        top = 14 + index * (_PANEL + _GAP)
        middle = middles[index]
        down = Scale(middle * (1 - spread), middle * (1 + spread), top + _PANEL, top)
        drawing.word(f"{names[index]}: median {text.seconds(middle)}", LEFT, top - 4, css="head")
        drawing.down(
            down, [(middle * (1 + sign * spread / 1.25), _percent(sign * spread / 1.25)) for sign in (1, 0, -1)]
        )
        kept = _thinned(array[shown], max(3, points // max(len(shown), 1)))
        drawn += kept.size
        places = top + _PANEL * np.clip((1 + spread - kept / middle) / (2 * spread), 0, 1)
        drawing.columns(css, zip(map(across, shown), places.tolist(), strict=True))
    _ratios(drawing, across, medians[0] / medians[1], bounds)
    total = sum(array.size for array in arms)
    thinned = (
        f" {drawn} of {total} samples are drawn: of a round, evenly from fastest to slowest." if drawn < total else ""
    )
    every = max(1, -(-rounds // max(points // 4, 12)))
    left_out = f" The table has every {every}th round." if every > 1 else ""
    rows = [
        (str(number + 1), *(text.seconds(float(one[number])) for one in medians), _ratio(medians, number))
        for number in range(0, rounds, every)
    ]
    return Figure(
        title="The race, round by round",
        caption="Each dot is a sample, in per cent of its arm's median; rounds in the order in which they ran."
        f"{thinned}{left_out}",
        height=14 + 3 * _PANEL + 2 * _GAP + 16,
        lines=drawing.lines,
        words=drawing.words,
        table=Table(("round", f"{names[0]}, median", f"{names[1]}, median", "ratio"), rows, numbers_from=0),
    )


def _ratios(drawing: Drawing, across: Scale, ratios: NDArray[np.float64], bounds: Sequence[float]) -> None:
    top = 14 + 2 * (_PANEL + _GAP)
    middle = median(ratios)
    near = [bound for bound in map(float, bounds) if abs(bound / middle - 1) < _WIDEST] if middle > 0 else []
    low, high = float(min(*ratios.tolist(), *near, middle)), float(max(*ratios.tolist(), *near, middle))
    margin = max((high - low) * 0.08, middle * 1e-4)
    down = Scale(low - margin, high + margin, top + _PANEL, top)
    drawing.word("ratio of each round, candidate / reference", LEFT, top - 4, css="head")
    ticks = down.ticks(2)
    decimals = text.decimals_for(*(ticks if len(ticks) > 1 else (low, high)))
    drawing.down(down, [(tick, text.ratio(tick, decimals)) for tick in ticks])
    for bound in near:
        drawing.line("bound", [(LEFT, down(bound)), (RIGHT, down(bound))])
        below = down(bound) < top + 12  # the panel's heading is above
        drawing.word(f"bound {text.bound(bound)}", RIGHT, down(bound) + (11 if below else -3), "end", "bound")
    for bound in bounds:
        if bound not in near:
            drawing.word(f"bound {text.bound(bound)}, far off", RIGHT, top - 4, "end", "bound")
    drawing.dots("ratio strong", ((across(number), down(float(value))) for number, value in enumerate(ratios)))
    last = len(ratios)
    for number in sorted({1, (last + 1) // 2, last}):
        anchor = "start" if number == 1 else "end" if number == last else "middle"
        drawing.word(f"round {number}" if number == 1 else str(number), across(number - 1), top + _PANEL + 13, anchor)


def _ratio(medians: Sequence[NDArray[np.float64]], number: int) -> str:
    return text.ratio(float(medians[0][number] / medians[1][number]), 4)


def _percent(fraction: float) -> str:
    return "0 %" if fraction == 0 else f"{100 * fraction:+.2g} %"


def _shown_rounds(rounds: int, points: int) -> list[int]:
    """Rounds from which samples are drawn: all, or evenly spread ones, so that each can have three."""
    import numpy as np

    most = max(points // 3, 1)
    if rounds <= most:
        return list(range(rounds))
    return sorted(set(np.linspace(0, rounds - 1, most).round().astype(int).tolist()))


def _thinned(samples: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Of each row the fastest, the slowest, and evenly what is between them."""
    import numpy as np

    count = samples.shape[1]
    if count <= most:
        return samples
    places = np.linspace(0, count - 1, most).round().astype(int)
    thinned: NDArray[np.float64] = np.sort(samples, axis=1)[:, places]
    return thinned
