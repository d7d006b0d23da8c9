"""The table that `ncu --csv --page raw` writes: names, their units, then one row a launch.

In front of it stands what the program and ncu itself print; a program that prints while it ends stands behind. Each
process has a table of its own.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from pytest_kgate.profile.nsight.reading.launch import OPCODES
from pytest_kgate.profile.nsight.reading.launch import Launch
from pytest_kgate.profile.nsight.reading.launch import UnreadableReport
from pytest_kgate.profile.nsight.reading.numbers import decimal_mark
from pytest_kgate.profile.nsight.reading.numbers import instance
from pytest_kgate.profile.nsight.reading.numbers import number
from pytest_kgate.profile.nsight.reading.units import factor

_FIRST_COLUMN = '"ID","Process ID",'

_NO_KERNELS = "No kernels were profiled"

_ABOUT = (
    *("ID", "Process ID", "Process Name", "Host Name", "Kernel Name", "Context", "Stream"),
    *("Block Size", "Grid Size", "Device", "CC"),
)
"""Columns that are no metrics; those of NVTX ranges are none either."""

_RANGE = re.compile(r'"(?:\d+:)?[^":]*:(?P<message>[^"]*?)(?::[^":]*){6}"')
"""`"<default domain>:candidate:none:none:none:none:none:none"`: a message, then six fields about it. A range that was
started and not pushed has its number in front."""

_TAIL = 5
"""Lines of an unreadable report that are shown."""


def read_raw_csv(text: str) -> list[Launch]:
    """The launches of a report, in its order; none where ncu says that there were none.

    Values are in base units; what is no finite number (`n/a`, `nan`, `no data`, words) is left out. Of metrics with a
    value for each opcode, those of `OPCODES` are told where the table has them (`--print-metric-instances details`).
    Raises `UnreadableReport` where there is no table, or one that ends in the middle.
    """
    tables = list(_tables(text))
    if not tables and _NO_KERNELS not in text:
        raise UnreadableReport(
            f"Nsight Compute wrote no table of counters; its last lines:\n{_last_lines(text)}",
            "Run ncu with --csv --page raw on the same program, and see what it says.",
        )
    return [launch for table in tables for launch in _launches(table)]


def _tables(text: str) -> Iterator[list[list[str]]]:
    """Rows of each table, the names first."""
    table: list[list[str]] = []
    for line in _lines(text):
        if line.startswith(_FIRST_COLUMN):
            if table:
                yield table
            table = []
        elif not table or not line.startswith('"'):
            continue
        row = next(csv.reader(line.splitlines(keepends=True)))
        if (table and len(row) != len(table[0])) or not line.rstrip().endswith('"'):
            raise _cut_off(text)
        table.append(row)
    if len(table) == 1:
        raise _cut_off(text)
    if table:
        yield table


def _lines(text: str) -> Iterator[str]:
    """Lines of the text; a row of the table may have line ends within quotation marks."""
    begun = ""
    for line in text.splitlines():
        whole = f"{begun}\n{line}" if begun else line
        begun = whole if whole.startswith('"') and whole.count('"') % 2 else ""
        if not begun:
            yield whole
    if begun:
        raise _cut_off(text)


def _cut_off(text: str) -> UnreadableReport:
    return UnreadableReport(
        f"The table of counters ends in the middle of a line; its end:\n{text[-200:]}",
        "ncu was ended while it wrote, or the disk is full: run it again.",
    )


def _launches(table: Sequence[list[str]]) -> Iterator[Launch]:
    names, units, *rows = table
    metrics = [place for place, name in enumerate(names) if name not in _ABOUT and "_Range:" not in name]
    ranges = [place for place, name in enumerate(names) if "_Range:" in name]
    mark = decimal_mark(row[place] for row in rows for place in metrics)
    factors = {place: factor(units[place]) for place in metrics}
    for row in rows:
        about = dict(zip(names, row, strict=True))
        measured = {names[place]: _scaled(number(row[place], mark), factors[place]) for place in metrics}
        for name, opcode in OPCODES:
            measured[f"{name}[{opcode}]"] = instance(about.get(name, ""), opcode, mark)
        yield Launch(
            counters={
                "kernel": about["Kernel Name"],
                "grid": _extent(about, "Grid Size"),
                "block": _extent(about, "Block Size"),
                "metrics": {name: value for name, value in measured.items() if value is not None},
            },
            ranges=tuple(name for place in ranges for name in _RANGE.findall(row[place])),
            device=int(about["Device"]),
            arch=f"sm_{about['CC'].replace('.', '')}",
        )


def _scaled(value: float | None, base: float) -> float | None:
    return None if value is None else value * base


def _extent(about: Mapping[str, str], name: str) -> list[int]:
    """Of `(128, 1, 1)`."""
    return [int(one) for one in re.findall(r"\d+", about[name])]


def _last_lines(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-_TAIL:]) or "(it printed nothing)"
