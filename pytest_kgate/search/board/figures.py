"""A search as figures of an HTML page: the best so far, knobs side by side, and what was rejected at which stage."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.page.html.figures.figure import LEFT
from pytest_kgate.report.page.html.figures.figure import RIGHT
from pytest_kgate.report.page.html.figures.figure import Drawing
from pytest_kgate.report.page.html.figures.figure import Figure
from pytest_kgate.report.page.html.figures.figure import Scale
from pytest_kgate.report.page.html.figures.figure import Table
from pytest_kgate.search.board.table import OUT
from pytest_kgate.search.board.table import half_width
from pytest_kgate.search.space.configuration import spell

if TYPE_CHECKING:
    from pytest_kgate.search.policy.trial import Trial
    from pytest_kgate.search.space.configuration import Configuration
    from pytest_kgate.search.space.configuration import Value

_TOP, _HEIGHT = 22, 110
_WORST = 2.0
"""Times the median: what is slower is drawn at the edge."""
_MOST_LINES = 200
"""Candidates in parallel coordinates: the fastest."""
_MOST_KNOBS = 6
_MOST_LABELS = 8
"""Of an axis; of more values, the first and the last."""
_BEST = 4
"""That stand out."""
_REASONS = 3
"""Of a stage, those that came most often."""


def figures(trials: Sequence[Trial], champion: Configuration | None, tree: Sequence[str]) -> list[Figure]:
    """The figures of these candidates, in the order of their proposals; `tree` are the lines of their descent."""
    found = [best_so_far(trials, champion), knobs_side_by_side(trials), rejected(trials)]
    if tree:
        found.append(Figure("Elites and their ancestors", text="\n".join(tree)))
    return [one for one in found if one is not None]


def best_so_far(trials: Sequence[Trial], champion: Configuration | None) -> Figure | None:
    """The estimates, and the best of them with its interval, candidate by candidate."""
    raced = [(number, one) for number, one in enumerate(trials, start=1) if one.objective is not None]
    if not raced:
        return None
    ratios = [_ratio(one) for _, one in raced]
    best: list[tuple[int, Trial]] = []
    for number, one in raced:
        if not best or _ratio(one) < _ratio(best[-1][1]):
            best.append((number, one))
    ends = [_ends(one) for _, one in best]
    middle = sorted(ratios)[len(ratios) // 2]
    low = min(min(ratios), *(end[0] for end in ends if math.isfinite(end[0])), middle)
    high = max(min(max(ratios), _WORST * middle), ratios[0] if ratios[0] < _WORST * middle else low)
    margin = max((high - low) * 0.06, middle * 1e-4)
    down = Scale(max(low - margin, low / 2), high + margin, _TOP + _HEIGHT, _TOP)
    across = Scale(0.5, len(trials) + 0.5, LEFT, RIGHT)
    drawing = Drawing()
    ticks = down.ticks(3)
    decimals = text.decimals_for(*(ticks if len(ticks) > 1 else (low, high)))
    drawing.down(down, [(tick, text.ratio(tick, decimals)) for tick in ticks])
    drawing.dots("reference", ((across(number), down(_ratio(one))) for number, one in raced))
    line: list[tuple[float, float]] = []
    for (number, one), following in zip(best, [*best[1:], (len(trials), best[-1][1])], strict=True):
        line += [(across(number), down(_ratio(one))), (across(following[0]), down(_ratio(one)))]
    drawing.line("candidate", line)
    for (number, _), (least, most) in zip(best, ends, strict=True):
        if math.isfinite(least):
            drawing.line("candidate", [(across(number), down(least)), (across(number), down(most))])
    drawing.dots("candidate strong", ((across(number), down(_ratio(one))) for number, one in best))
    drawing.word("1", across(1), _TOP + _HEIGHT + 14)
    drawing.word(f"candidate {len(trials)}", RIGHT, _TOP + _HEIGHT + 14, "end")
    rows = [
        (str(number), one.configuration.title, _shown(one), "champion" if one.configuration == champion else "")
        for number, one in best
    ]
    return Figure(
        title="Best so far",
        caption="Estimates of the ratio candidate / reference in the order of their proposals, and the best with its "
        "interval. They are provisional: the best of many is flattered. Slow ones are at the upper edge.",
        height=_TOP + _HEIGHT + 20,
        lines=drawing.lines,
        words=drawing.words,
        legend=(("candidate", "best so far"), ("reference", "each candidate")),
        table=Table(("candidate", "knobs", "ratio", ""), rows, 2),
    )


def knobs_side_by_side(trials: Sequence[Trial]) -> Figure | None:
    """Parallel coordinates: a line for each of the fastest candidates through its values of each knob."""
    raced = sorted((one for one in trials if one.objective is not None), key=_ratio)[:_MOST_LINES]
    values: dict[str, list[Value]] = {}
    for one in raced:
        for name, value in one.configuration.knobs:
            if value not in values.setdefault(name, []):
                values[name].append(value)
    names = [name for name, found in values.items() if len(found) > 1 and not one_of_a_kind(found, raced)]
    names = sorted(names, key=lambda name: -len(values[name]))[:_MOST_KNOBS]
    if len(raced) < 2 or not names:
        return None
    for found in values.values():
        found.sort(key=lambda value: (isinstance(value, str), str(value) if isinstance(value, str) else value))
    drawing = Drawing()
    ratio_scale = Scale(_ratio(raced[0]), _ratio(raced[-1]), _TOP + _HEIGHT, _TOP + 8)
    across = Scale(0, len(names), LEFT, RIGHT - 24)
    for place, name in enumerate(names):
        x = across(place)
        drawing.line("axis", [(x, _TOP), (x, _TOP + _HEIGHT + 4)])
        drawing.word(name, x, 10 + 11 * (place % 2), "middle", "head")
        labels = values[name] if len(values[name]) <= _MOST_LABELS else (values[name][0], values[name][-1])
        for value in labels:
            drawing.word(spell(value), x - 3, _at(values[name], value) + 3.5, "end")
    drawing.line("axis", [(across(len(names)), _TOP), (across(len(names)), _TOP + _HEIGHT + 4)])
    drawing.word("ratio", across(len(names)), 10 + 11 * (len(names) % 2), "middle", "head")
    for one in (raced[0], raced[-1]):
        drawing.word(text.ratio(_ratio(one)), across(len(names)) + 3, ratio_scale(_ratio(one)) + 3.5)
    for place, one in reversed(list(enumerate(raced))):
        chosen = one.configuration.as_dict()
        points = [
            (across(number), _at(values[name], chosen[name])) for number, name in enumerate(names) if name in chosen
        ]
        css = "candidate" if place < _BEST else "axis"
        drawing.line(css, [*points, (across(len(names)), ratio_scale(_ratio(one)))])
    rows = [(one.configuration.title, _shown(one)) for one in raced[:20]]
    left = f" Of {len(values)} knobs, those with most values." if len(values) > len(names) else ""
    return Figure(
        title="Knobs of the fastest",
        caption=f"A line for each of {text.counted(len(raced), 'candidate')}, through its values to its ratio; the "
        f"fastest {min(_BEST, len(raced))} stand out.{left}",
        height=_TOP + _HEIGHT + 10,
        lines=drawing.lines,
        words=drawing.words,
        table=Table(("knobs", "ratio"), rows),
    )


def one_of_a_kind(values: Sequence[Value], trials: Sequence[Trial]) -> bool:
    """Whether each candidate has a value of its own, as sources have: there is nothing to compare."""
    return len(values) == len(trials) > 2 and all(isinstance(value, str) for value in values)


def rejected(trials: Sequence[Trial]) -> Figure | None:
    """How many candidates ended at each stage of a search, and the reasons that came most often."""
    rows = []
    for state, title in OUT.items():
        reasons = Counter(one.reason for one in trials if one.state == state)
        if reasons:
            usual = "; ".join(
                f"{reason}{f' ({count} times)' if count > 1 else ''}" for reason, count in reasons.most_common(_REASONS)
            )
            more = len(reasons) - _REASONS
            told = f"{usual}{f'; and {more} more' if more > 0 else ''}"
            rows.append((title, told, str(reasons.total())))
    if not rows:
        return None
    raced = sum(one.raced for one in trials)
    return Figure(
        title="Rejected, by stage",
        caption=f"{raced} of {text.counted(len(trials), 'candidate')} were right and raced.",
        table=Table(("what became of them", "why", "candidates"), rows, 2),
    )


def _at(values: Sequence[Value], value: Value) -> float:
    scale = Scale(0, max(len(values) - 1, 1), _TOP + _HEIGHT, _TOP + 8)
    return scale(values.index(value))


def _ratio(trial: Trial) -> float:
    assert trial.objective is not None
    return math.exp(trial.objective.log_ratio)


def _ends(trial: Trial) -> tuple[float, float]:
    assert trial.objective is not None
    half = half_width(trial.objective)
    return _ratio(trial) / (1 + half), _ratio(trial) * (1 + half)


def _shown(trial: Trial) -> str:
    low, high = _ends(trial)
    told = text.ratio(_ratio(trial))
    return f"{told} {text.interval(low, high)}" if math.isfinite(low) else told
