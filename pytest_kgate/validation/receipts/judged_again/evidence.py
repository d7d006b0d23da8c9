"""What a record says against its own verdict: a disturbed race, work not done, a finding, a reference slowed down."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate.bench.processes.isolated import slowed_down
from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.bench.seeds import root_of
from pytest_kgate.bench.seeds import text
from pytest_kgate.report.record.verdicts import VERDICTS

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.asked import Seed
    from pytest_kgate.report.record.facts.timing import TryFacts
    from pytest_kgate.report.record.record import Record


def of_evidence(record: Record) -> Iterator[str]:
    """A clause for each; of what disturbs, only where the record passes all the same."""
    yield from _of_tries(record)
    yield from _of_seeds(record)
    verdict, timing = record["verdict"], record["timing"]
    if verdict != "PASS":
        return
    if timing is not None and timing.get("undone"):
        yield f"it is PASS, and of its timed calls it says: {timing['undone']}"
    integrity = record.get("integrity")
    for finding in integrity["findings"] if integrity else ():
        yield f"it is PASS, and a check of side effects found: {finding['reason']}"
    charged = float(integrity["clean"].get("charged", 1.0)) if integrity and "clean" in integrity else 1.0
    if charged > 1.0 and any(
        gate["ratio"] is None or float(gate["ratio"]["high"]) * charged >= gate["bound"] for gate in record["gates"]
    ):
        yield f"it is PASS, and against the reference of a clean process its ratio is {charged:g} times as large"
    isolation = record.get("isolation")
    if isolation is not None and slowed_down(isolation, record["gates"]):
        yield "it is PASS, and what its processes slowed the reference down by was not charged to it"
    sanitizer = record.get("sanitizer")
    if sanitizer is not None and sanitizer["verdict"] == "FAIL":
        yield "it is PASS, and compute-sanitizer found a fault"


def tries_of(record: Record) -> Sequence[TryFacts]:
    """The races of a call, the last of which counts; none where the record has none."""
    timing = record["timing"]
    return timing.get("evidence", {}).get("tries", []) if timing is not None else []


def first_seed(record: Record) -> Seed:
    """The root of all that the call drew; that of the race that counts is another one where the first was disturbed."""
    tries = tries_of(record)
    return tries[0]["seed"] if tries else record["seeds"]["race"]


def _of_tries(record: Record) -> Iterator[str]:
    """A disturbed race is raced once more; the record's rounds are those of the last."""
    timing, tries = record["timing"], tries_of(record)
    if timing is None:
        return
    if record["gates"] and VERDICTS[record["verdict"]].of_gates:
        own = [one.get("evidence", {}).get("tries", []) for one in timing.get("processes", ())]
        for reason in (reason for one in (tries, *own) for reason in (one[-1]["reasons"] if one else ())):
            # One that can't have turned the verdict, or that was accepted, is a warning that says so.
            if not any(f"{reason}: " in warning for warning in record["warnings"]):
                yield f"it is {record['verdict']}, and its race is not to be trusted: {reason}"
    if not tries:
        return
    last = tries[-1]
    if last["seed"] != record["seeds"]["race"]:
        yield "seeds.race is not that of the race that counts"
    if last.get("rounds", timing["rounds"]) != timing["rounds"]:
        yield f"timing.rounds are {timing['rounds']}, and its last race took {last.get('rounds')}"
    verdicts = last.get("verdicts")
    gates = [gate["verdict"] for gate in record["gates"]]
    if verdicts is not None and "INVALID" not in gates and verdicts != gates:
        left = ", ".join(verdicts) or "none"
        yield f"its gates are {', '.join(gates) or 'none'}, and its last race left {left}"


def _of_seeds(record: Record) -> Iterator[str]:
    """Seeds that follow from others; each process of a gate may have drawn its own."""
    if record["seeds"].get("book", 1) < 2:
        return
    tries = tries_of(record)
    second = SeedBook(root_of(first_seed(record))).page(Stream.SECOND_RACE)
    if len(tries) == 2 and tries[1]["seed"] != text(second.root):
        yield "the seed of its second race does not follow from that of the first"
