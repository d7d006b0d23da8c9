"""Findings as a Markdown table: why each recorded candidate is as fast as it is, and what to try."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_kgate.report.page import markdown

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

_HEAD = ("candidate", "problem", "finding", "explains", "how sure", "with the numbers", "what to try")
_RIGHT = ("explains",)


def table(records: Iterable[Record]) -> str:
    """A row for each finding of each record, what explains most first, and below on what they were measured."""
    told = [record for record in records if record.get("insights")]
    if not told:
        return "No findings: `pytest --kgate-profile` reads the counters that they are made of.\n"
    rows = []
    for record in told:
        for place, one in enumerate(record["insights"]):
            share = one["evidence"].get("share")
            head = ("", "") if place else (record["candidate"]["name"], record["problem"]["name"])
            explains = "" if share is None else f"{100 * share:.0f} %"
            rows.append((*head, one["name"], explains, one["confidence"], one["finding"], one["advice"]))
    return markdown.grid(_HEAD, _RIGHT, rows) + markdown.conditions(told)
