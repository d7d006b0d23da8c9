"""Tables of places for the terminal, for a page, and for programs."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from pytest_kgate.report import format as text
from pytest_kgate.report.page import markdown
from pytest_kgate.report.ranking.order import Place
from pytest_kgate.report.ranking.places import CONFIDENCE
from pytest_kgate.report.ranking.ranking import Table
from pytest_kgate.report.ranking.score import WEIGHTS
from pytest_kgate.report.text.render import table_lines
from pytest_kgate.report.text.render import wrapped

SCHEMA = "pytest-kgate/ranking"
VERSION = 1

_GAP = 2


def _speedup(place: Place) -> str:
    return "" if place.variant.speedup is None else text.ratio(math.exp(place.variant.speedup.mean))


def _interval(place: Place) -> str:
    return "" if place.variant.speedup is None else text.interval(*place.variant.speedup.ends())


def _latency(place: Place) -> str:
    return text.seconds_if_any(place.variant.seconds)


COLUMNS: dict[str, Callable[[Place], str]] = {
    "place": lambda one: one.text,
    "candidate": lambda one: one.variant.name,
    "verdict": lambda one: one.variant.verdict,
    "speedup": _speedup,
    f"{text.percent(CONFIDENCE)} interval": _interval,
    "latency": _latency,
    "registers": lambda one: text.fixed_if_any(one.variant.registers),
    "spilled": lambda one: text.fixed_if_any(one.variant.spill_bytes),
    "tensor %": lambda one: text.fixed_if_any(one.variant.metrics.get("tensor"), 1),
    "SM %": lambda one: text.fixed_if_any(one.variant.metrics.get("sm"), 1),
    "barriers": lambda one: text.fixed_if_any(one.variant.metrics.get("barriers"), 1),
    "score": lambda one: text.fixed_if_any(one.score.points if one.score else None),
}
"""Title -> cell. A cell is empty where that was not measured."""

_LEFT = ("place", "candidate", "verdict", f"{text.percent(CONFIDENCE)} interval")
_RIGHT = tuple(title for title in COLUMNS if title not in _LEFT)


_LEAST_WANTED = ("barriers", "SM %", "tensor %", "spilled", "registers", "latency")
"""Columns that a narrow terminal goes without, in this order."""

_NARROWEST = 60
"""Columns of a terminal; a narrower one wraps lines itself."""

RULE = (
    "A range of places (1-3) holds all that a candidate can have. Whose ranges overlap can't be told apart at "
    f"{text.percent(CONFIDENCE)} confidence, in all comparisons of a table together, by the difference of their log "
    "speedups; they stand by what resources they take."
)
"""By what rule candidates share places."""


def score_rule() -> str:
    """What the score is made of, in one line."""
    parts = [f"{'+' if one.points > 0 else '-'} {abs(one.points):g} {one.name}" for one in WEIGHTS]
    return f"score = {' '.join(parts).removeprefix('+ ')}"


def weights_table() -> str:
    """The parts of the score in Markdown."""
    rows = [(weight.name, f"{weight.points:+g}", weight.reason) for weight in WEIGHTS]
    return markdown.grid(("for each", "points", "why"), ("points",), rows)


def lines_of(tables: Sequence[Table], width: int, color: bool) -> list[str]:
    """For the terminal, none longer than `width`, down to 60: a table leaves out columns, and says which."""
    lines: list[str] = []
    shared = _shared_remarks(tables)
    for table in tables:
        drawn, left_out = _drawn(table, max(width, _NARROWEST), color)
        room = [f"Left out for want of room: {', '.join(left_out)}."] if left_out else []
        below = [*room, *(one for one in table.remarks if one not in shared)]
        lines += [*_wrapped([str(table.conditions)], width), *drawn, *_wrapped(below, width), ""]
    return [*lines, *_wrapped([*shared, RULE, score_rule()], width)]


def _wrapped(sentences: Iterable[str], width: int) -> list[str]:
    return [line for one in sentences for line in wrapped(one, max(width, _NARROWEST))]


def page_of(tables: Sequence[Table]) -> str:
    """The tables in Markdown, each below the line that says what it is about, and at the end what holds for all."""
    parts = []
    shared = _shared_remarks(tables)
    for table in tables:
        rows = [[cell(place) for cell in COLUMNS.values()] for place in table.places]
        parts.append(f"{table.conditions}:\n\n{markdown.grid(COLUMNS, _RIGHT, rows)}")
        parts += [f"{one}\n" for one in table.remarks if one not in shared]
    records = {id(record): record for table in tables for record in table.records}
    below = " ".join((*shared, RULE, f"{score_rule()}."))
    return "\n".join([*parts, f"{below}\n"]) + markdown.conditions(records.values())


def _shared_remarks(tables: Sequence[Table]) -> list[str]:
    """Those of all tables in which there are scores; they are told once."""
    scored = [table.remarks for table in tables if any(place.score is not None for place in table.places)]
    return [one for one in scored[0] if all(one in remarks for remarks in scored)] if len(scored) > 1 else []


def document_of(tables: Sequence[Table]) -> dict[str, Any]:
    """The tables in JSON's own types."""
    return {"schema": SCHEMA, "version": VERSION, "tables": [_facts(table) for table in tables]}


def _facts(table: Table) -> dict[str, Any]:
    conditions = table.conditions
    return {
        "problem": conditions.problem,
        "device": conditions.device,
        "timing": conditions.timing or None,
        "reference": conditions.reference or None,
        "remarks": list(table.remarks),
        "candidates": [_place_facts(place) for place in table.places],
    }


def _place_facts(place: Place) -> dict[str, Any]:
    variant, speedup = place.variant, None
    if variant.speedup is not None:
        low, high = variant.speedup.ends()
        speedup = {"low": low, "estimate": math.exp(variant.speedup.mean), "high": high, "confidence": CONFIDENCE}
    return {
        "candidate": variant.name,
        "verdict": variant.verdict,
        "first_place": place.first,
        "last_place": place.last,
        "speedup": speedup,
        "candidate_seconds": variant.seconds,
        "registers": variant.registers,
        "spill_bytes": variant.spill_bytes,
        "tensor_percent": variant.metrics.get("tensor"),
        "sm_percent": variant.metrics.get("sm"),
        "score": None if place.score is None else place.score.points,
        "score_is_made_of": [] if place.score is None else list(place.score.parts),
        "records": variant.records,
    }


def _drawn(table: Table, width: int, color: bool) -> tuple[list[str], list[str]]:
    """The lines of a table, and which columns have no room."""
    from rich.cells import cell_len
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    shown = {title: [cell(place) for place in table.places] for title, cell in COLUMNS.items()}
    shown = {title: cells for title, cells in shown.items() if any(cells)}
    widths = {title: max(map(cell_len, (title, *cells))) + _GAP for title, cells in shown.items()}
    left_out = []
    for title in _LEAST_WANTED:
        if title in widths and sum(widths.values()) > width + _GAP:
            left_out.append(title)
            del shown[title], widths[title]
    for title in shown:
        drawn.add_column(
            Text(title),
            justify="right" if title in _RIGHT else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=None if title == "candidate" else widths[title] - _GAP,
        )
    for row in zip(*shown.values(), strict=True):
        drawn.add_row(*(Text(cell) for cell in row))  # a plain string may hold what rich takes for markup: `[red]`
    return table_lines(drawn, width, color), left_out
