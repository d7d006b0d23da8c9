"""Estimates of a candidate from the records of its calls, one of each call. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate.report.ranking.log_ratio import log_ratio_estimate
from pytest_kgate.search.policy.trial import Estimate

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record


def labels(records: Sequence[Record]) -> list[str]:
    """What tells the calls apart, as short as it can be: the parameters of their tests, else the tests' names."""
    named = []
    for record in records:
        name = record["test"].rpartition("::")[2]
        _, bracket, parameters = name.partition("[")
        label = parameters.removesuffix("]") if bracket else name
        named.append(label + (f" call {record['call'] + 1}" if record["call"] else ""))
    if len(set(named)) == len(named):
        return named
    return [record["test"] + (f" call {record['call'] + 1}" if record["call"] else "") for record in records]


def estimate_of(record: Record) -> Estimate | None:
    """The log ratio over the rounds of one call; None where it was not raced."""
    found = log_ratio_estimate(record)
    return None if found is None else Estimate(found.log_ratio, found.stderr, found.degrees, found.rounds)
