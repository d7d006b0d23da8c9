"""Why a candidate is as fast as it is, as lines of the account of its gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kgate.report import format as text

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

SHOWN = 3
"""Findings that are told in full: what explains most stands first, and each can be acted on."""


def why(record: Record) -> list[str]:
    """Two lines each of the first findings, and the names of the others; empty where there are none."""
    insights = record.get("insights", [])
    lines = []
    for one in insights[:SHOWN]:
        lines += [f"{one['name']} ({one['confidence']}): {one['finding']}", f"-> {one['advice']}"]
    others = ", ".join(one["name"] for one in insights[SHOWN:])
    return [*lines, f"and {text.counted(len(insights) - SHOWN, 'finding')} more: {others}"] if others else lines
