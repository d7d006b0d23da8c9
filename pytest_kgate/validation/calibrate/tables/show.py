"""Show a calibration: on the terminal, and as Markdown for the documentation."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path

from pytest_kgate.report.format import counted
from pytest_kgate.report.text.render import table_lines
from pytest_kgate.report.text.render import wrapped
from pytest_kgate.validation.calibrate.cases import catalogue
from pytest_kgate.validation.calibrate.file import Calibrations
from pytest_kgate.validation.calibrate.findings.findings import Findings
from pytest_kgate.validation.calibrate.findings.findings import findings_of
from pytest_kgate.validation.calibrate.run.other_rules import RULES
from pytest_kgate.validation.calibrate.tables import tables
from pytest_kgate.validation.calibrate.tables.p_values import ascii_histogram
from pytest_kgate.validation.calibrate.tables.p_values import p_values
from pytest_kgate.validation.calibrate.tables.tables import Table

_GAP = 2

_BOTH_FALSE = "PASS and FAIL are both false here, and 2.5 % of each are promised"

_LEGEND = {
    "noise floor": "half-width of the ratio's interval at 96 rounds",
    "resolved": "distance from the bound that is decided nine times out of ten",
}
"""What columns of the table of equal kernels are; those that are not shown need no words."""

_ENOUGH = 100
"""Gates on equal kernels: where none of so many errs, the rate is below 3 %, at 95 % confidence."""


def findings_in(calibrations: Calibrations) -> Findings:
    """The findings that follow from the gates of a file."""
    return findings_of(calibrations.gates, catalogue(calibrations.setting["kind"]))


def terminal_text(calibrations: Calibrations, width: int, color: bool) -> str:
    """All tables and the histogram; no line of a table is longer than `width`, down to its indispensable columns."""
    found = findings_in(calibrations)
    width = max(width, 60)
    parts = [textwrap.fill(tables.conditions(calibrations.setting, calibrations.processes), width)]
    parts += [_note(line, width) for line in tables.unavailable_lines(calibrations.gates)]
    if found.same:
        same = tables.same_table(found)
        parts.append(_render(same, width, color))
        shown = same.head[: _columns_shown(same, width)]
        told = [f"{name}: {what}" for name, what in _LEGEND.items() if name in shown]
        parts.append(_note("; ".join([_BOTH_FALSE, *told]), width))
        names = [one.case.name for one in found.same]
        parts.append(ascii_histogram(p_values(calibrations.gates, names), width))
    if found.accuracy:
        parts.append(_render(tables.accuracy_table(found), width, color))
        parts.append(_note(f"bias: reading less model; {tables.instruments_line(found)}", width))
    if calibrations.comparisons:
        parts.append(_render(tables.comparison_table(calibrations.comparisons), width, color))
        parts.append("\n".join(_note(rule, width) for rule in _rules(calibrations)))
    if found.overall.gates:
        parts.append(_checks(found, width))
    return "\n\n".join(part for part in parts if part)


def _rules(calibrations: Calibrations) -> list[str]:
    """Lines on what each rule of the comparison does, and why one of them could not run."""
    told = {str(line["recipe"]): line.get("error") for line in calibrations.comparisons}
    return [f"{name}: {rule}" for name, rule in RULES.items() if name in told] + [
        f"{name} did not run: {error}" for name, error in told.items() if error
    ]


def verdict_line(found: Findings) -> str:
    """Whether the device is accepted, in one sentence."""
    if not found.overall.gates:
        return "no gates on equal kernels yet"
    if not found.accepted:
        return "NOT ACCEPTED: gates on this device err more often than they say"
    if found.overall.judged < _ENOUGH:
        return f"ACCEPTED as far as {counted(found.overall.judged, 'gate')} can tell: --full makes as many as it takes"
    return "ACCEPTED: gates on this device err as rarely as they say"


def calibration_markdown(path: Path) -> str:
    """The tables of a calibration file, for a block of the documentation."""
    calibrations = Calibrations.load(path)
    found = findings_in(calibrations)
    parts = []
    if found.same:
        parts.append(_markdown(tables.same_table(found)))
    if found.accuracy:
        parts += [_markdown(tables.accuracy_table(found)), _sentence(tables.instruments_line(found))]
    if calibrations.comparisons:
        parts.append(_markdown(tables.comparison_table(calibrations.comparisons)))
        parts.append("\n".join(f"- {rule}." for rule in _rules(calibrations)))
    if found.overall.gates:
        checks = (*found.acceptance, *found.goals)
        parts.append(
            "\n".join(f"- {check.name}: {check.detail}{'' if check.met else ' (**missed**)'}" for check in checks)
        )
    parts += [_sentence(line) for line in tables.unavailable_lines(calibrations.gates)]
    parts.append(_sentence(tables.conditions(calibrations.setting, calibrations.processes)))
    return "\n\n".join(parts) + "\n"


def _sentence(line: str) -> str:
    return line[:1].upper() + line[1:] + "."


def _markdown(table: Table) -> str:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    rule = ("---", *("---:" for _ in table.head[1:]))
    return "\n".join([line(table.head), line(rule), *(line(row) for row in table.rows)])


def _note(text: str, width: int) -> str:
    return "\n".join(wrapped(text, width, "  "))


def _checks(found: Findings, width: int) -> str:
    lines = []
    for title, checks in (("accepted", found.acceptance), ("aimed at", found.goals)):
        for check in checks:
            met = "yes" if check.met else "NO"
            indent = " " * (len(title) + 6)
            lines.append(
                textwrap.fill(
                    f"{title}  {met:3} {check.name}: {check.detail}",
                    width,
                    subsequent_indent=indent,
                    break_on_hyphens=False,
                )
            )
    return "\n".join(lines)


def _widths(table: Table) -> list[int]:
    return [max(len(table.head[index]), *(len(row[index]) for row in table.rows)) for index in range(len(table.head))]


def _columns_shown(table: Table, width: int) -> int:
    """How many columns, from the left, there is room for; at least the first `table.least`."""
    widths = _widths(table)
    shown = len(widths)
    while shown > max(1, table.least or shown) and sum(widths[:shown]) + _GAP * (shown - 1) > width:
        shown -= 1
    return shown


def _render(table: Table, width: int, color: bool) -> str:
    """The table with as many columns as there is room for."""
    from rich.table import Table as Rich
    from rich.text import Text

    widths, shown = _widths(table), _columns_shown(table, width)
    grid = Rich(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for index, title in enumerate(table.head[:shown]):
        grid.add_column(Text(title), justify="right" if index else "left", no_wrap=True, min_width=widths[index])
    for row in table.rows:
        grid.add_row(*(Text(cell) for cell in row[:shown]))
    return "\n".join(table_lines(grid, max(width, sum(widths[:shown]) + _GAP * shown), color))
