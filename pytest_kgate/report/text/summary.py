"""The summary table at the end of a session: one line a gate, with as many columns as the terminal has room for."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import TypeAlias

from pytest_kgate.report import format as text
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.report.rows import Row
from pytest_kgate.report.rows import rows_of
from pytest_kgate.report.text.below_table.percentiles import asked_for
from pytest_kgate.report.text.below_table.percentiles import percentile_lines
from pytest_kgate.report.text.below_table.warnings import warning_lines
from pytest_kgate.report.text.render import table_lines
from pytest_kgate.report.text.render import wrapped
from pytest_kgate.report.together.grids import grids_of

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

_NARROWEST = 60
"""Columns below which nothing more is dropped: a terminal that narrow wraps lines itself."""

_SHORTEST_NAME = 12

_ENOUGH_NAME = 24
"""Names are cut to this before a column is dropped: it holds `host-1x8x512x64-causal`. They are cut to the shortest
before both latencies would be."""

_GAP = 2


@dataclass(frozen=True)
class _Column:
    title: str
    cell: Callable[[Row], str]
    right: bool = False


_Needs: TypeAlias = Callable[[_Column], int]
"""How wide a column is."""


@dataclass(frozen=True)
class _Layout:
    """The columns that are shown; the first holds names, and is cut where there is little room."""

    columns: tuple[_Column, ...]
    grouped: bool = True
    """Whether a test stands on a line of its own above its cases."""
    drawn: bool = True
    """Whether one of the columns is the drawing."""
    bound_above: bool = False
    """Whether the bound stands behind the test's name, and not in a column."""
    whole_names: bool = False
    """Whether it is taken only where it cuts no name, since the next shows as much and has more room for them."""


def summary_table(
    records: Sequence[Record], width: int = 100, color: bool = False, percentiles: bool = False, unjudged: int = 0
) -> str:
    """The table of all gates, what its drawing means, grids of shapes, the warnings, the count of verdicts.

    Percentiles of latency stand there where a race went on for one, or `percentiles` asks for those of all. `unjudged`
    is how many tests have failed without a record, which stands behind the count. No line of the table is longer than
    `width` characters, down to 60.
    """
    if not records:
        return ""
    width = max(width, _NARROWEST)
    rows = _together(_rows_of_runs(records))
    step = text.step_for((*row.ends, row.ratio_bound) for row in rows if row.ends and row.ratio_bound)
    layouts, needs = _layouts(rows, step), _needs_of(rows)
    *wider, least = layouts
    fitting = [one for one in wider if _least_width(one, needs, _ENOUGH_NAME) <= width]
    # Where names are cut even so, the fewest columns leave them the most room.
    fitting += [one for one in reversed(wider) if _least_width(one, needs, _SHORTEST_NAME) <= width] + [least]
    layout = next((one for one in fitting if _tells_apart(one, rows, needs, width)), fitting[0])
    parts = [_render(layout, rows, needs, width, color)]
    if layout.drawn and any(row.ends and row.ratio_bound for row in rows):
        parts.append(f"! is the bound, [=|=] the interval, < > are further off; one character is {100 * step:g} %")
    for grid in grids_of(records):
        parts += wrapped(grid.line, width, "  ")
    parts += percentile_lines(records if percentiles else asked_for(records), width)
    parts += warning_lines(records, width)
    parts += wrapped(_counts(rows, unjudged), width)
    return "\n".join(parts)


def _layouts(rows: Sequence[Row], step: float) -> list[_Layout]:
    """The layouts to try, from the most columns to the fewest, without columns that would be empty."""
    one_file = len({row.path for row in rows}) == 1
    full_name = _Column("gate", lambda row: _join(_test(row, one_file), row.notes))
    case = _Column(
        "gate", lambda row: " " + _join(row.parameters, row.notes) if row.parameters else full_name.cell(row)
    )
    candidate = _Column("candidate", lambda row: text.seconds_if_any(row.candidate_seconds), right=True)
    latency = _Column("latency", candidate.cell, right=True)
    raced = _Column("raced against", lambda row: _join(_reference(row), row.backend))
    reference = _Column("reference", lambda row: text.seconds_if_any(row.reference_seconds), right=True)
    names = {_reference(row) for row in rows if row.reference}
    only = next(iter(names)) if len(names) == 1 else ""
    short = _Column(min(only or "reference", "reference", key=len), reference.cell, right=True)
    both = _Column("reference", lambda row: _join(reference.cell(row).rjust(7), row.backend or _reference(row)))
    levels = {row.confidence for row in rows if row.confidence is not None}
    level = f"{text.percent(next(iter(levels)))} " if len(levels) == 1 else ""
    ratio = _Column(f"ratio, {level}interval", _ratio)
    limit = _Column("bound", lambda row: row.bound_text, right=True)
    rounds = _Column("rounds", lambda row: "" if row.rounds is None else str(row.rounds), right=True)
    verdict = _Column("verdict", lambda row: row.verdict)
    counted = _Column("verdict, rounds", lambda row: _join(row.verdict, str(row.rounds or "")))
    large, small = _drawing(step, 15), _drawing(step, 9)
    layouts = [
        _Layout((full_name, candidate, raced, reference, ratio, limit, large, rounds, verdict), grouped=False),
        _Layout((case, candidate, raced, reference, ratio, limit, large, rounds, verdict)),
        _Layout((case, candidate, both, ratio, limit, large, rounds, verdict)),
        _Layout((case, latency, both, ratio, limit, small, rounds, verdict)),
        _Layout((case, latency, both, ratio, limit, small, counted)),
        _Layout((case, latency, both, ratio, limit, counted), drawn=False),
        _Layout((case, latency, both, ratio, limit, verdict), drawn=False),
        _Layout((case, latency, short, ratio, limit, verdict), drawn=False, whole_names=_one_bound(rows)),
        *([_Layout((case, latency, short, ratio, verdict), drawn=False, bound_above=True)] if _one_bound(rows) else []),
        _Layout((case, ratio, limit, verdict), drawn=False),
    ]
    return [
        replace(one, columns=tuple(column for column in one.columns if any(column.cell(row).strip() for row in rows)))
        for one in layouts
    ]


def _one_bound(rows: Sequence[Row]) -> bool:
    """Whether each test has a line of its own above its cases, which all have the same bound."""
    bounds: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        bounds.setdefault((row.path, row.function), set()).add(row.bound_text)
    return all(row.parameters for row in rows) and all(len(found) == 1 for found in bounds.values())


def _rows_of_runs(records: Sequence[Record]) -> list[Row]:
    """A row a gate, with the number of its run where a call is there several times, as of several sessions."""
    calls = [(record["test"], record["call"], record.get("attempt", 1)) for record in records]
    often, seen = Counter(calls), Counter[tuple[str, int, int]]()
    rows = []
    for call, record in zip(calls, records, strict=True):
        seen[call] += 1
        run = f"run {seen[call]}" if often[call] > 1 else ""
        rows += [replace(row, notes=_join(row.notes, run)) for row in rows_of([record])]
    return rows


def _together(rows: Sequence[Row]) -> list[Row]:
    """The rows in an order in which those of a test follow each other: under xdist records arrive in any order."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.path, row.function), []).append(row)
    return [row for group in groups.values() for row in group]


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part.strip())


def _reference(row: Row) -> str:
    """Its name where it has one: that of every lambda takes the room of tests' names, and tells nothing."""
    return "" if row.reference == "<lambda>" else row.reference


def _test(row: Row, one_file: bool) -> str:
    name = row.function if one_file or not row.path else f"{row.path}::{row.function}"
    return f"{name}[{row.parameters}]" if row.parameters else name


def _ratio(row: Row) -> str:
    if row.error is not None:
        return f"error {text.error(row.error)}"
    if row.limit is not None:
        return row.limit_text
    return _join(row.ratio_text, row.interval_text)


def _drawing(step: float, width: int) -> _Column:
    def cell(row: Row) -> str:
        if row.ends is None or row.ratio_bound is None or row.ratio is None:
            return ""
        return text.drawing(row.ends[0], row.ratio, row.ends[1], row.ratio_bound, step, width)

    half = width // 2
    return _Column(f"{'less':^{min(half, 6)}}".rjust(half) + "!" + f"{'more':^{min(half, 6)}}".ljust(half), cell)


def _needs_of(rows: Sequence[Row]) -> _Needs:
    """How wide each column is in characters; layouts share columns, and sessions may have thousands of rows."""
    from rich.cells import cell_len

    return functools.cache(lambda one: max(len(one.title), *(cell_len(one.cell(row)) for row in rows)))


def _widths(layout: _Layout, needs: _Needs) -> list[int]:
    """The widths of the columns in characters; each but the first includes the gap before it."""
    first, *others = map(needs, layout.columns)
    return [first, *(width + _GAP for width in others)]


def _least_width(layout: _Layout, needs: _Needs, enough: int) -> int:
    names, *others = _widths(layout, needs)
    return (min(names, enough) if layout.grouped else names) + sum(others)


def _name_width(layout: _Layout, needs: _Needs, width: int) -> int:
    """The room that is left for names."""
    widths = _widths(layout, needs)
    return min(widths[0], max(_SHORTEST_NAME, width - sum(widths[1:])))


def _tells_apart(layout: _Layout, rows: Sequence[Row], needs: _Needs, width: int) -> bool:
    """Whether no two names of a test become the same where they are cut."""
    names = _name_width(layout, needs, width)
    if layout.whole_names and names < _widths(layout, needs)[0]:
        return False
    whole = {(row.path, row.function, layout.columns[0].cell(row)) for row in rows}
    return len({(path, function, _shorten(name, names)) for path, function, name in whole}) == len(whole)


def _render(layout: _Layout, rows: Sequence[Row], needs: _Needs, width: int, color: bool) -> str:
    from rich.table import Table
    from rich.text import Text

    widths = _widths(layout, needs)
    names = _name_width(layout, needs, width)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold", show_edge=False)
    for index, column in enumerate(layout.columns):
        least = widths[index] - _GAP if index else names
        table.add_column(Text(column.title), justify="right" if column.right else "left", no_wrap=True, min_width=least)
    for row in rows:
        cells = [one.cell(row) for one in layout.columns]
        table.add_row(
            Text(_shorten(cells[0], names)),  # a plain string may hold what rich takes for markup: `[red]`
            *(Text(cell) for cell in cells[1:-1]),
            Text(cells[-1], VERDICTS[row.verdict].style),
        )
    lines = table_lines(table, max(width, names + sum(widths[1:])), color)
    return "\n".join(_with_groups(lines, rows, width, layout.bound_above) if layout.grouped else lines)


def _with_groups(lines: Sequence[str], rows: Sequence[Row], width: int, bound: bool) -> list[str]:
    """The name of each test above the lines of its cases; `lines` has the header and one line a row."""
    one_file = len({row.path for row in rows}) == 1
    result, group = [lines[0]], ""
    for line, row in zip(lines[1:], rows, strict=True):
        name = row.function if one_file or not row.path else f"{row.path}::{row.function}"
        if row.parameters and name != group:
            told = f", bound {row.bound_text}" if bound and row.bound_text else ""
            result.append(_shorten(name, width - len(told)) + told)
        group = name
        result.append(line)
    return result


def _shorten(name: str, width: int) -> str:
    """The name with its middle left out: both its start and its parameters, at the end, tell tests apart."""
    if len(name) <= width:
        return name
    kept = width - 2
    return f"{name[: kept - kept * 2 // 3]}..{name[len(name) - kept * 2 // 3 :]}"


def _counts(rows: Sequence[Row], unjudged: int) -> str:
    counts = Counter(row.verdict for row in rows)
    told = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]]
    if unjudged:
        they = "it was" if unjudged == 1 else "they were"
        told.append(f"{text.counted(unjudged, 'test')} failed before {they} judged")
    return ", ".join(told)
