"""What each candidate and its reference do with the GPU, a line a call, below the summary of a session that counts."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.counters import ArmCounters
    from pytest_kgate.report.record.record import Record

_SHARES = {"tensor": "tensor", "sm": "SM", "dram": "DRAM", "warps": "warps"}
"""Metrics in percent of the peak -> the column's title."""

_CELL = 11
_LEAST_NAME = 12


def counter_lines(records: Sequence[Record], width: int) -> list[str]:
    """The table; where nothing was counted, why. Each cell is the candidate's value, then the reference's."""
    counted = [record for record in records if "counters" in record and record["counters"]["candidate"] is not None]
    if not counted:
        reasons = Counter(record["counters"]["reason"] for record in records if "counters" in record)
        lines = [
            f"no counters: {reason.rstrip('.')} (in {text.counted(count, 'test')})" for reason, count in reasons.items()
        ]
        return [part for one in lines for part in textwrap.wrap(one, width, break_on_hyphens=False)]
    names = [_name(record) for record in counted]
    room = max(_LEAST_NAME, width - 2 - len(_SHARES) * (_CELL + 2) - max(map(len, map(_finding, counted))))
    widest = min(max(map(len, (*names, "counters, %"))), room)
    lines = ["  ".join([f"{'counters, %':{widest}}", *(f"{title:>{_CELL}}" for title in _SHARES.values()), "finding"])]
    for name, record in zip(names, counted, strict=True):
        cells = [f"{_both(record, metric):>{_CELL}}" for metric in _SHARES]
        lines.append("  ".join([f"{_cut(name, widest):{widest}}", *cells, _finding(record)]).rstrip())
    return [*lines, "  each as candidate / reference; of records, `kgate report FILE --format counters` shows more"]


def _name(record: Record) -> str:
    call = f" ({record['call'] + 1})" if record["call"] else ""
    return f"{record['test'].rpartition('::')[2]}{call}"


def _cut(name: str, width: int) -> str:
    """Its end tells cases of one test apart."""
    return name if len(name) <= width else f"..{name[2 - width :]}"


def _finding(record: Record) -> str:
    return next((one["name"] for one in record.get("insights", ())), "")


def _both(record: Record, metric: str) -> str:
    counters = record["counters"]
    return f"{_value(counters['candidate'], metric)} / {_value(counters['reference'], metric)}"


def _value(arm: ArmCounters | None, metric: str) -> str:
    facts = None if arm is None else arm["metrics"].get(metric)
    return "-" if facts is None else f"{facts['value']:.1f}"
