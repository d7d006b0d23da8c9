"""A record's figures as properties of its test, for the reports of other plugins: JUnit's XML, pytest-json-report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from pytest_kgate.report import format as text
from pytest_kgate.report.ci.rows import percentile_figures
from pytest_kgate.report.record.record import Record
from pytest_kgate.report.record.values import finite
from pytest_kgate.report.rows import Row
from pytest_kgate.report.rows import gate_rows
from pytest_kgate.report.rows import quantile_name

Value: TypeAlias = str | float

PREFIX = "kgate."
"""Of all names."""


def properties_of(record: Record) -> list[tuple[str, Value]]:
    """Names and values, such as `kgate.ratio` and 0.454; times are seconds.

    A second call's names begin with `kgate.2.`, those of a gate on the p90 with `kgate.p90.`, and those of a second
    gate on one quantile with `kgate.below_0.95.`. Percentiles of latency have names as in CSV:
    `kgate.candidate_p99_low`. Limits are `kgate.limit.registers` and so on, in their own units; a second one on the
    same value is `kgate.limit.dram.at_least_0.9`.
    """
    call = f"{record['call'] + 1}." if record["call"] else ""
    rows = gate_rows(record)
    gates = record["gates"] if len(rows) == len(record["gates"]) else []
    seen, found = set[str](), list[tuple[str, Value]]()
    for index, row in enumerate(rows):
        label = quantile_name(gates[index]["quantile"]) if gates else ""
        if label in seen and row.bound is not None:
            label = ".".join(part for part in (label, f"below_{text.bound(row.bound)}") if part)
        seen.add(label)
        found += [(f"{PREFIX}{call}{label + '.' if label else ''}{name}", value) for name, value in _figures(row)]
    correctness = record["correctness"]
    if correctness is not None and not correctness.get("by_equal") and all(row.error is None for row in rows):
        found += [(f"{PREFIX}{call}{name}", value) for name, value in _finite("error", correctness["candidate_error"])]
    for figure, value in percentile_figures(record).items():
        found += [(f"{PREFIX}{call}{name}", value) for name, value in _finite(figure, value)]
    for limit in record.get("limits", ()):
        name = f"{PREFIX}{call}limit.{limit['name']}"
        if name in seen:
            name += f".at_{'most' if limit['sense'] == '<=' else 'least'}_{limit['bound']:g}"
        seen.add(name)
        found += [(name, value) for _, value in _finite(name, limit["value"])]
        found += [(f"{name}.bound", limit["bound"]), (f"{name}.verdict", limit["verdict"])]
    if not rows:
        named = (("verdict", record["verdict"]), ("candidate", record["candidate"]["name"]))
        found += [(f"{PREFIX}{call}{name}", value) for name, value in (*named, ("problem", record["problem"]["name"]))]
    return found


def _figures(row: Row) -> Iterator[tuple[str, Value]]:
    yield "verdict", row.verdict
    yield "candidate", row.candidate
    yield "problem", row.problem
    if row.reference:
        yield "reference", f"{row.reference} {row.backend}".rstrip()
    for name in ("candidate_seconds", "reference_seconds", "ratio", "bound", "error", "rounds"):
        yield from _finite(name, getattr(row, name))
    if row.ends is not None:
        yield from _finite("ratio_low", row.ends[0])
        yield from _finite("ratio_high", row.ends[1])


def _finite(name: str, value: float | str | None) -> Iterator[tuple[str, Value]]:
    """The figure, where there is one."""
    found = finite(value)
    if found is not None:
        yield name, found
