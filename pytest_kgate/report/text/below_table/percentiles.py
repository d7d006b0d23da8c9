"""Percentiles of both arms' latency below a session's table, some lines a race."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.record.samples import percentiles_of

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

_INDENT = 4


def asked_for(records: Iterable[Record]) -> list[Record]:
    """The records whose race went on for a percentile: it is what their reader waits for."""
    return [record for record in records if "asked" in record and "percentile" in record["asked"]["sources"]]


def percentile_lines(records: Iterable[Record], width: int) -> list[str]:
    """The name of each test that was raced, then its arms; a number and its unit stay together."""
    lines = []
    for record in records:
        timing = record["timing"]
        if not timing:
            continue
        lines.append(f"percentiles of {text.visible(record['test'])}")
        for name in ("candidate", "reference"):
            found = text.percentiles(percentiles_of(timing[name])).split("; ")
            joined = "; ".join(one.replace(" ", "\0") for one in found)
            wrapped = textwrap.wrap(f"{name} {joined}", width - _INDENT, subsequent_indent=" " * 10)
            lines += [f"{' ' * _INDENT}{line}".replace("\0", " ") for line in wrapped]
    return lines
