"""Percentiles of both arms' latency as a Markdown table, each with its interval, or a dash and what that takes."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable

from pytest_kgate.report import format as text
from pytest_kgate.report.page.markdown import escaped
from pytest_kgate.report.page.markdown import grid
from pytest_kgate.report.record.record import Record
from pytest_kgate.report.record.samples import percentiles_of


def table(records: Iterable[Record], named: Callable[[str], str] = escaped) -> list[str]:
    """The head with its ruler, then the lines of each race, one an arm; nothing where none was raced.

    `named` makes Markdown of the names of tests and arms, which come from whoever wrote them.
    """
    raced = [(record, _arms(record)) for record in records if record["timing"]]
    raced = [(record, arms) for record, arms in raced if any(found for _, found in arms)]
    quantiles = sorted({quantile for _, arms in raced for _, found in arms for quantile in found})
    if not raced:
        return []
    head = ("test", "latency of", *(f"p{100 * quantile:g}" for quantile in quantiles))
    rows = [
        ("" if place else named(_title(record)), named(arm), *(found.get(one, "") for one in quantiles))
        for record, arms in raced
        for place, (arm, found) in enumerate(arms)
    ]
    lines = grid(head, (), rows, cells_are_markdown=True).splitlines(keepends=True)
    return ["".join(lines[at : at + 2]) for at in range(0, len(lines), 2)]


def _title(record: Record) -> str:
    calls = (f" #{record['call'] + 1}" if record["call"] else "", f" try {record.get('attempt', 1)}")
    return record["test"] + calls[0] + (calls[1] if record.get("attempt", 1) > 1 else "")


def _arms(record: Record) -> list[tuple[str, dict[float, str]]]:
    """The name of each arm, and its percentiles as text."""
    timing, reference = record["timing"], record["reference"]
    if timing is None:
        return []
    against = " ".join(filter(None, (reference["name"], reference["backend"]))) if reference else "reference"
    arms = ((record["candidate"]["name"], timing["candidate"]), (against, timing["reference"]))
    return [(name, {one["quantile"]: text.percentile(one) for one in percentiles_of(arm)}) for name, arm in arms]
