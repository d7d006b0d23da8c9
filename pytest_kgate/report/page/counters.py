"""Hardware counters of recorded candidates and their references as a Markdown table: what each does with the GPU."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.page import markdown
from pytest_kgate.report.rows import rows_of

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.counters import ArmCounters
    from pytest_kgate.report.record.record import Record

_HEAD = (
    *("problem", "candidate", "ratio", "launches", "tensor %", "SM %", "warps %", "DRAM / needed"),
    *("registers", "barriers a warp", "findings"),
)
_RIGHT = _HEAD[2:-1]

_FINDINGS = 3
"""That are named, what explains most first."""


def table(records: Iterable[Record]) -> str:
    """A row for each candidate whose counters were read, sorted by problem and then as recorded, with its references.

    Below stands on what they were measured. Shares are of the whole launch; DRAM is what crossed device memory, over
    the bytes that the problem needs.
    """
    counted = [record for record in records if "counters" in record and record["counters"]["candidate"] is not None]
    if not counted:
        return "No counters: `pytest --kgate-profile` reads them.\n"
    problems: dict[str, list[Record]] = {}
    for record in counted:
        problems.setdefault(record["problem"]["name"], []).append(record)
    rows = [row for group in problems.values() for row in _rows(group)]
    return markdown.grid(_HEAD, _RIGHT, rows) + markdown.conditions(counted)


def _rows(records: list[Record]) -> Iterator[tuple[str, ...]]:
    references: dict[str, tuple[Record, ArmCounters]] = {}
    for record in records:
        arm, reference = record["counters"]["candidate"], record["counters"]["reference"]
        if arm is not None:
            found = ", ".join(one["name"] for one in record.get("insights", [])[:_FINDINGS])
            yield _row(record, record["candidate"]["name"], rows_of([record])[0].ratio_text, arm, found)
        named = record["reference"]
        if reference is not None and named is not None:
            references[" ".join(part for part in (named["name"], named["backend"]) if part)] = (record, reference)
    for name, (record, arm) in references.items():
        yield _row(record, f"{name} (reference)", "", arm, "")


def _row(record: Record, name: str, ratio: str, arm: ArmCounters, findings: str) -> tuple[str, ...]:
    values = {short: facts["value"] for short, facts in arm["metrics"].items()}
    moved, needed = values.get("dram_bytes"), record["problem"]["bytes"]
    return (
        record["problem"]["name"],
        name,
        ratio,
        str(arm["launch_count"]),
        *(text.fixed_if_any(values.get(short), 1) for short in ("tensor", "sm", "warps")),
        text.fixed_if_any(moved / needed if moved is not None and needed else None, 2),
        text.fixed_if_any(values.get("registers"), 0),
        text.fixed_if_any(values.get("barriers"), 1),
        findings,
    )
