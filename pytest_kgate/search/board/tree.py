"""The elites of a search with their ancestors: what changed from each to the next, and what that gave. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_kgate.report.format import percent
from pytest_kgate.report.format import ratio
from pytest_kgate.search.board.table import half_width
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.configuration import spell

ASSUMED = "Where it is not known which candidate was varied, the one before that differs in fewest knobs stands here."

Described = Callable[[Trial, Trial], str]
"""What changed from one candidate to another, where it is not in their knobs."""


@dataclass(frozen=True)
class Step:
    """One candidate of a line of descent."""

    trial: Trial
    before: Trial | None
    """The one that it was made from; None for the first of its line."""
    others: tuple[str, ...] = ()
    """Further parents, by their knobs or the ids of their sources."""


def descent(trial: Trial, trials: Sequence[Trial]) -> list[Step]:
    """The steps from a candidate back to the first raced one of its line; `trials` in the order of their proposals."""
    places = {one.configuration: place for place, one in enumerate(trials)}
    by_id = {name: one for one in trials for name in (one.configuration.id, one.source) if name}
    told = any(one.parents or one.source for one in trials)
    steps: list[Step] = []
    while True:
        before, others = _parent(trial, trials[: places[trial.configuration]], by_id, told)
        steps.append(Step(trial, before, others))
        if before is None or places[before.configuration] >= places[trial.configuration]:
            return steps
        trial = before


def lines_of_tree(elites: Sequence[Trial], trials: Sequence[Trial], described: Described | None = None) -> list[str]:
    """The tree of descent as lines: each elite, and below it, further in, what it came from."""
    lines: list[str] = []
    for elite in elites:
        for depth, step in enumerate(descent(elite, trials)):
            lines.append(f"{'  ' * depth}{_line(step, described)}")
    assumed = len(trials) > 1 and not any(one.parents or one.source for one in trials)
    return [*lines, *([ASSUMED] if lines and assumed else [])]


def changed(before: Trial, after: Trial) -> str:
    """The knobs that differ: `STAGES 2 -> 3, PAD 0 -> 8`."""
    old, new = before.configuration.as_dict(), after.configuration.as_dict()
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return ", ".join(f"{name} {_spelled(old, name)} -> {_spelled(new, name)}" for name in names)


def gained(before: Trial, after: Trial) -> str:
    """What the change did to the ratio: `-8.0 % +- 0.7 %`."""
    if before.objective is None or after.objective is None:
        return ""
    widths = [half_width(one.objective) for one in (before, after) if one.objective is not None]
    change = math.expm1(after.objective.log_ratio - before.objective.log_ratio)
    error = f" +- {percent(math.hypot(*widths))}" if all(map(math.isfinite, widths)) else ""
    return f"{100 * change:+.1f} %{error}"


def _parent(
    trial: Trial, earlier: Sequence[Trial], by_id: Mapping[str, Trial], told: bool
) -> tuple[Trial | None, tuple[str, ...]]:
    """`told`: whether candidates of this search know their parents, so that one without has none."""
    known = [by_id[one] for one in trial.parents if one in by_id]
    if known:
        return known[0], tuple(one.source or one.configuration.title for one in known[1:])
    raced = [one for one in earlier if one.raced]
    if told or not raced:
        return None, ()
    return min(raced, key=lambda one: _distance(one.configuration, trial.configuration)), ()


def _distance(one: Configuration, other: Configuration) -> int:
    return len(set(one.knobs) ^ set(other.knobs))


def _line(step: Step, described: Described | None) -> str:
    trial, before = step.trial, step.before
    name = trial.source or trial.configuration.title
    told = ratio(math.exp(trial.objective.log_ratio)) if trial.objective is not None else trial.state
    if before is None:
        return f"{told}  {name}, the first of its line"
    what = (described(before, trial) if described is not None else "") or changed(before, trial)
    crossed = f", crossed with {', '.join(step.others)}" if step.others else ""
    effect = gained(before, trial)
    return f"{told}  {name}{crossed}: {what}{f': {effect}' if effect else ''}"


def _spelled(knobs: Mapping[str, int | float | str | bool], name: str) -> str:
    return spell(knobs[name]) if name in knobs else "-"
