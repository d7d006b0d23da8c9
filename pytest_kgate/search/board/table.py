"""The places of a search for the terminal: a table, and what is to be said of all candidates together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate.report.format import counted
from pytest_kgate.report.format import fixed_if_any
from pytest_kgate.report.format import percent
from pytest_kgate.report.format import ratio
from pytest_kgate.report.format import seconds
from pytest_kgate.report.text.render import table_lines
from pytest_kgate.report.text.render import wrapped
from pytest_kgate.search.board.places import CONFIDENCE
from pytest_kgate.search.board.places import Place
from pytest_kgate.search.space.configuration import spell

if TYPE_CHECKING:
    from pytest_kgate.search.policy.trial import Confirmation
    from pytest_kgate.search.policy.trial import Estimate
    from pytest_kgate.search.policy.trial import State
    from pytest_kgate.search.policy.trial import Trial

_GAP = 2

MOST_SHOWN = 10
"""Candidates of a search's table, unless more are asked for."""

OUT: dict[State, str] = {
    "refused": "refused",
    "unbuildable": "did not compile",
    "spills": "spilled registers",
    "wrong": "wrong",
    "cheats": "cheated",
    "error": "raised or could not be judged",
    "timeout": "hung",
    "crash": "crashed",
}
"""What became of those that were not raced, in the order of a search's stages."""

PROVISIONAL = (
    "Ratios are estimates, and provisional: the best of many is flattered. A range of places holds all that a "
    f"candidate can have; who shares places can't be told apart at {percent(CONFIDENCE)} by these rounds. Only the "
    "champion is claimed."
)


def half_width(estimate: Estimate) -> float:
    """Half the width of the ratio's interval at `CONFIDENCE`, as a fraction of the ratio; NaN where not known."""
    if not math.isfinite(estimate.stderr) or estimate.degrees <= 0:
        return math.nan
    from scipy import special  # here, since every verb's --help would pay

    return math.expm1(-float(special.stdtrit(estimate.degrees, (1 - CONFIDENCE) / 2)) * estimate.stderr)


def lines_of(found: Sequence[Place], width: int, color: bool, most: int = MOST_SHOWN) -> list[str]:
    """The first places, and the champion whatever its place is."""
    shown = [place for number, place in enumerate(found) if number < most or place.champion]
    if not shown:
        return []
    knobs = {name: {place.trial.configuration.as_dict().get(name) for place in found} for name in _names(found)}
    same = {name: values for name, values in knobs.items() if len(values) == 1 and len(found) > 1}
    lines = _drawn(shown, set(same), width, color)
    if len(shown) < len(found):
        lines.append(f"and {len(found) - len(shown)} more")
    if same:
        one = shown[0].trial.configuration.as_dict()
        lines.append(f"All have {' '.join(f'{name}={spell(one[name])}' for name in same)}.")
    return lines


def out_line(trials: Sequence[Trial]) -> str:
    """How many were not raced, and why; empty where all were."""
    counts = Counter(trial.state for trial in trials if not trial.raced)
    parts = [f"{counts[state]} {text}" for state, text in OUT.items() if counts[state]]
    raced = sum(trial.raced for trial in trials)
    return f"{raced} of {counted(len(trials), 'candidate')} raced{'; ' if parts else ''}{', '.join(parts)}."


def cost_line(trials: Sequence[Trial]) -> str:
    """What the search has spent, on compilers (of all cores together) and on the device."""
    built = sum(trial.seconds.get("build", 0.0) for trial in trials)
    device = sum(trial.seconds.get("check", 0.0) + trial.seconds.get("race", 0.0) for trial in trials)
    return f"Builds took {seconds(built)}, checks and races {seconds(device)}."


def champion_lines(
    champion: Confirmation | None, tried: Sequence[Confirmation], alpha_spent: float, begun: int = 0
) -> list[str]:
    """The claim of the search, or why there is none; and what its confirmations may have cost in error.

    `begun` confirmations have not ended: they are under way, or were killed.
    """
    chance = f"All confirmations of this search together could pass falsely with a chance of {100 * alpha_spent:.4g} %."
    if champion is None:
        last = tried[-1] if tried else None
        said = f": {last.configuration.title} was not confirmed: {last.reason}" if last else " was confirmed."
        open_one = [f"{counted(begun, 'confirmation')} begun and not ended."] if begun else []
        return [f"No champion{said}", *open_one, *([chance] if alpha_spent else [])]
    lines = [f"Champion: {champion.configuration.title}"]
    for name, (estimate, low, high) in champion.ratios.items():
        claim = f"ratio {ratio(estimate)} [{ratio(low)}, {ratio(high)}]"
        lines.append(f"  {name}: {claim} over {counted(champion.processes, 'fresh process')}")
    return [*lines, chance]


def in_columns(lines: Sequence[str], width: int) -> list[str]:
    """Sentences at the width of the table; rows of tables as they are."""
    return [part for line in lines for part in wrapped(line, width, "  ")]


def _names(found: Sequence[Place]) -> list[str]:
    return list(dict.fromkeys(name for place in found for name, _ in place.trial.configuration.knobs))


def _drawn(shown: Sequence[Place], hidden: set[str], width: int, color: bool) -> list[str]:
    from rich.table import Table
    from rich.text import Text

    cells = {
        "place": [place.text for place in shown],
        "ratio": [ratio(math.exp(place.trial.objective.log_ratio)) for place in shown if place.trial.objective],
        "+-": [_error(place.trial.objective) for place in shown if place.trial.objective],
        "rounds": [str(place.trial.objective.rounds) for place in shown if place.trial.objective],
        "regs": [fixed_if_any(place.trial.resources.get("registers")) for place in shown],
        "smem": [fixed_if_any(place.trial.resources.get("shared_bytes")) for place in shown],
        "": [place.status for place in shown],
        "knobs": [
            " ".join(f"{name}={spell(value)}" for name, value in place.trial.configuration.knobs if name not in hidden)
            for place in shown
        ],
    }
    cells = {title: column for title, column in cells.items() if any(column)}
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    for title in cells:
        right = title in ("ratio", "+-", "rounds", "regs", "smem")
        table.add_column(Text(title), justify="right" if right else "left", no_wrap=title != "knobs")
    for row in zip(*cells.values(), strict=True):
        table.add_row(*(Text(cell, style="bold green" if cell == "champion" else "") for cell in row))
    return table_lines(table, width, color)


def _error(estimate: Estimate) -> str:
    half = half_width(estimate)
    if half > 1:
        return "> 100 %"
    return percent(half) if math.isfinite(half) else "?"
