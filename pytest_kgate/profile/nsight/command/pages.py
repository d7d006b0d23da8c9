"""What Nsight Compute itself says of launches in a report: results of its rules, and where warps wait."""

from __future__ import annotations

import csv
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.profile.nsight.collection.page import page
from pytest_kgate.profile.nsight.command.source_lines import MOST_LINES
from pytest_kgate.profile.nsight.command.source_lines import stalled_lines
from pytest_kgate.profile.nsight.command.source_lines import why

if TYPE_CHECKING:
    from pytest_kgate.profile.nsight.collection.collect import CountedCall

_KINDS = {"OPT": 0, "WRN": 1, "INF": 2}
"""Of rules' results, in the order in which they are shown."""

_SAMPLES = "# Samples"
_STALL = "stall_"
_NOT_ISSUED = " (Not Issued)"


def rules_of(program: Path, report: Path, call: CountedCall) -> list[str]:
    """The results of all rules for the launches of a call, what promises most first; a launch's number where several.

    Raises `UnreadableReport`.
    """
    found: list[tuple[int, int, float, str]] = []
    for row in csv.DictReader(_rows(page(program, report, "--csv", "--page", "details"))):
        if not row.get("Rule Name") or int(row["ID"]) not in call.places:
            continue
        kind, speedup = row["Rule Type"], row.get("Estimated Speedup") or "0"
        number = call.places.index(int(row["ID"])) + 1
        launch = f"launch {number}: " if len(call.places) > 1 else ""
        gain = f" [{row['Estimated Speedup Type']} speedup of {speedup} % estimated]" if speedup != "0" else ""
        found.append((number, _KINDS.get(kind, len(_KINDS)), -_number(speedup), f"{launch}{kind} {_text(row)}{gain}"))
    return [text for *_, text in sorted(found)]


def stalls_of(program: Path, report: Path, call: CountedCall) -> list[str]:
    """The source lines at which the sampler found most warps, of each launch of a call, and why those waited.

    Without Nsight Compute's module `ncu_report` it is instructions. Raises `UnreadableReport`.
    """
    if importlib.util.find_spec("ncu_report") is not None:
        return stalled_lines(report, call)
    lines: list[str] = []
    for number, place in enumerate(call.places):
        chosen = ("--launch-skip", str(place), "--launch-count", "1")
        rows = _rows(page(program, report, "--csv", "--page", "source", "--print-source", "sass", *chosen))
        kernel = call.launches[number]["kernel"]
        lines.append(f"launch {number + 1}, {kernel}:")
        lines += (_most_sampled(rows) if _is_of(kernel, rows) else []) or ["  it has no samples"]
    return lines


def _is_of(kernel: str, rows: Sequence[str]) -> bool:
    """Whether a page is of this kernel, whose arguments it writes in its own way."""
    return bool(rows) and re.split("[<(]", kernel)[0] in rows[0]


def _most_sampled(rows: Sequence[str]) -> list[str]:
    """`12.3 %  HGMMA.64x64x16.F32 ...  (wait 60 %, math 30 %)` of the first table, the instruction with most first."""
    table = list(csv.reader(rows))
    start = next((place for place, row in enumerate(table) if "Source" in row and _SAMPLES in row), None)
    if start is None:
        return []
    names = table[start]
    body = []
    for row in table[start + 1 :]:
        if len(row) != len(names):  # the next table's name
            break
        body.append(dict(zip(names, row, strict=True)))
    total = sum(_number(row[_SAMPLES]) for row in body)
    if not total:
        return []
    most = sorted(body, key=lambda row: -_number(row[_SAMPLES]))[:MOST_LINES]
    return [
        f"  {_number(row[_SAMPLES]) / total:6.1%}  {row['Source'].strip()}{why(_reasons(row))}"
        for row in most
        if _number(row[_SAMPLES])
    ]


def _reasons(row: dict[str, str]) -> dict[str, float]:
    return {
        name.removeprefix(_STALL): _number(value)
        for name, value in row.items()
        if name.startswith(_STALL) and not name.endswith(_NOT_ISSUED)
    }


def _rows(text: str) -> list[str]:
    """The lines of the table, without what the tool says before it."""
    return [line for line in text.splitlines() if line.startswith('"')]


def _text(row: dict[str, str]) -> str:
    return f"{row['Rule Name']}: {' '.join(row['Rule Description'].split())}"


def _number(text: str) -> float:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return 0.0
