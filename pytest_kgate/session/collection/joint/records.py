"""The record of each candidate of a joint race: what its check has found, and what the shared rounds have."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.bench.race.joint import together
from pytest_kgate.bench.record_builder import RecordBuilder
from pytest_kgate.system.clocks.spent import ledger

if TYPE_CHECKING:
    from pytest_kgate.bench.request import Request
    from pytest_kgate.report.record.record import Record

_NOT_LOOKED_AT = "answers of timed launches"
"""In a joint race, besides what no race of so many rounds looks at."""


@dataclass(frozen=True)
class Entrant:
    """A candidate whose check has ended well."""

    request: Request
    record: Record
    """Of the check."""


def raced(entrants: Sequence[Entrant], means: together.Means, environment: Mapping[str, Any]) -> list[Record]:
    """Race them in the same rounds, and return the record of each, in their order."""
    with ledger() as book:
        found = together.run([one.request for one in entrants], means)
    share = {name: seconds / len(entrants) for name, seconds in book.seconds.items()}
    first = entrants[0]
    told = f"{first.request.test} {first.request.call} {first.record['started']}"
    race = hashlib.blake2b(told.encode(), digest_size=6).hexdigest()
    records = []
    for one, result in zip(entrants, found, strict=True):
        builder = RecordBuilder(one.request, means.device, environment)
        builder.candidate, builder.reference, builder.stopwatch = result.candidate, result.reference, result.stopwatch
        builder.valid_race, builder.race = result.race, result.race.race if result.race else None
        builder.invalid, builder.seconds = result.invalid, share
        arms = 1 + sum(each.race is not None for each in found)
        records.append(_joined(one.record, builder.finish(), race, arms))
    return records


def _joined(checked: Record, raced: Record, race: str, arms: int) -> Record:
    """The record of a candidate's race, with what its check has found."""
    record: Record = {
        **raced,
        "started": checked["started"],
        "reference": raced["reference"] or checked["reference"],
        "sanitizer": checked.get("sanitizer"),
        "correctness": checked["correctness"],
        "integrity": checked.get("integrity"),
        "warnings": list(dict.fromkeys([*checked["warnings"], *raced["warnings"]])),
    }
    if "memory" in checked:
        record["memory"] = checked["memory"]
    seconds = [checked.get("seconds", {}), raced.get("seconds", {})]
    record["seconds"] = {name: sum(one.get(name, 0.0) for one in seconds) for name in {**seconds[0], **seconds[1]}}
    measured = raced["measured"]
    record["measured"] = {**measured, "not_looked_at": [*measured["not_looked_at"], _NOT_LOOKED_AT]}
    if raced["timing"] is not None:
        record["measured"]["joint"] = {"race": race, "arms": arms}
    return record
