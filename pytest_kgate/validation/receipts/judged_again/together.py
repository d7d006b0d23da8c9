"""Records held against each other: what no two may share, and which calls of a test there must be."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record


def of_all(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """The test and a clause for each record that can't have been measured beside the others."""
    calls: dict[tuple[str, str], Record] = {}
    samples: dict[str, Record] = {}
    for record in records:
        timing = record["timing"]
        first = calls.setdefault((record["test"], record["started"]), record)
        if first is not record and first["call"] == record["call"]:
            yield record["test"], "two records of one call say different things of it"
        elif timing is not None and len(timing["candidate"]["samples"]["data"]) > _TELLING:
            packed = timing["candidate"]["samples"]
            other = samples.setdefault(packed.get("digest", packed["data"]), record)
            if other is not record:
                yield record["test"], f"the samples of its candidate are those of {_named(other, record)}"
    yield from _of_calls(records)


_TELLING = 100
"""Letters of packed samples: of a few of them on a coarse clock, two races can have the same."""


def _named(other: Record, record: Record) -> str:
    return other["test"] if other["test"] != record["test"] else f"its call {other['call'] + 1}"


def _of_calls(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """A test's calls are counted from 0: one of which a later one is there has been left out."""
    found: dict[tuple[str, int], set[int]] = {}
    for record in records:
        if "against" not in record:
            found.setdefault((record["test"], record.get("attempt", 1)), set()).add(record["call"])
    for (test, _), calls in found.items():
        missing = next((number for number in range(max(calls)) if number not in calls), None)
        if missing is not None:
            yield test, f"its call {max(calls) + 1} is there, and its call {missing + 1} is not"
