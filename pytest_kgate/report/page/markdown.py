"""Make records into a Markdown table, and put it into its block of a page such as a README."""

from __future__ import annotations

import re
from collections.abc import Container
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.report import format as text
from pytest_kgate.report.rows import Row
from pytest_kgate.report.rows import rows_of
from pytest_kgate.system import json_file

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

_HEAD = ("candidate", "problem", "latency", "reference", "ratio", "interval", "bound", "verdict")
_RIGHT = {"latency", "ratio", "bound"}
_END = "<!-- /kgate -->"


def table(records: Iterable[Record]) -> str:
    """The gates as a Markdown table, and below it on what they were measured."""
    records = list(records)
    if not records:
        return "No records.\n"
    return grid(_HEAD, _RIGHT, (_cells(row) for row in rows_of(records))) + conditions(records)


def grid(
    head: Iterable[str], right: Container[str], rows: Iterable[Iterable[str]], *, cells_are_markdown: bool = False
) -> str:
    """A Markdown table with this head, whose columns named in `right` are aligned right.

    What cells hold is escaped so that it shows as it is, unless `cells_are_markdown` (links, bold words).
    """
    head = list(head)
    shown = [[cell if cells_are_markdown else escaped(cell) for cell in row] for row in (head, *rows)]
    ruler = ["---:" if title in right else "---" for title in head]
    return "".join(f"| {' | '.join(row)} |\n" for row in (shown[0], ruler, *shown[1:]))


def conditions(records: Iterable[Record]) -> str:
    """An empty line, then one for each device and setting that the records were measured on; empty without records."""
    lines = [escaped(line) for line in conditions_of(records)]
    return "\n" + "  \n".join(lines) + "\n" if lines else ""


def conditions_of(records: Iterable[Record]) -> list[str]:
    """On what the records were measured, a line each, as plain text."""
    records = list(records)
    timed = [record for record in records if record.get("timing")]
    return list(dict.fromkeys(_conditions(record) for record in timed or records))


def update_block(content: str, name: str, block: str) -> str:
    """The text with what lies between `<!-- kgate:NAME -->` and the next `<!-- /kgate -->` replaced by the block.

    Raises `UsageError` where there is not exactly one such place.
    """
    start = f"<!-- kgate:{name} -->"
    todo = f"Write `{start}` and, where the table ends, `{_END}` on lines of their own."
    count = content.count(start)
    if count != 1:
        found = "no block" if count == 0 else f"{count} blocks"
        raise UsageError(f"The text has {found} of the name {name!r}, and needs one.", todo)
    before, _, after = content.partition(start)
    old, end, rest = after.partition(_END)
    if not end or "<!-- kgate:" in old:
        raise UsageError(f"The block {name!r} is not closed.", todo)
    return f"{before}{start}\n{block.strip()}\n{_END}{rest}"


def write_block(path: Path, name: str, block: str) -> None:
    """Replace a block of a file, leaving the rest of it, line ends too, as it is; raises `UsageError`."""
    try:
        # newline="" keeps the line ends that the file has
        with open(path, encoding="utf-8", newline="") as file:
            old = file.read()
        new = update_block(old, name, block)
        if new != old:
            json_file.replace(path, new, "utf-8")
    except OSError as error:
        raise UsageError(
            f"{path} can't be updated: {error.strerror}.", "Check the path and its permissions."
        ) from error


def _cells(row: Row) -> tuple[str, ...]:
    reference = " ".join(part for part in (row.reference, row.backend) if part)
    return (
        row.candidate,
        " ".join(part for part in (row.problem, row.notes) if part),
        text.seconds_if_any(row.candidate_seconds),
        f"{text.seconds_if_any(row.reference_seconds)} {reference}".strip(),
        row.limit_text or (row.ratio_text if row.error is None else f"error {text.error(row.error)}"),
        row.interval_text if row.error is None else "",
        row.bound_text,
        row.verdict,
    )


def escaped(cell: str) -> str:
    """The text as a cell that shows it as it is."""
    return re.sub(r"([|<*_`\\])", r"\\\1", text.visible(cell))


def _conditions(record: Record) -> str:
    """Device, driver, versions, timer, cache and day of a record: the conditions under which it was measured."""
    environment: dict[str, Any] = record.get("environment") or {}
    gpu, cpu = environment.get("gpu") or {}, environment.get("cpu") or {}
    timing = record.get("timing")
    packages = environment.get("packages") or {}
    facts = [
        gpu.get("name") or cpu.get("model"),
        f"driver {gpu['driver']}" if gpu.get("driver") else None,
        f"CUDA {environment['cuda_runtime']}" if environment.get("cuda_runtime") else None,
        text.counted(cpu["torch_threads"], "thread") if cpu.get("torch_threads") else None,
        f"PyTorch {packages['torch']}" if packages.get("torch") else None,
        f"{timing['timer']} timer" if timing else "not timed",
        f"{timing['cache']} cache" if timing else None,
        str(record.get("started", ""))[:10],
    ]
    return ", ".join(fact for fact in facts if fact)
