"""The verdict of a record, from those of its gates and of its check."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_kgate.report.record.correctness import CorrectnessFacts
    from pytest_kgate.report.record.record import RecordVerdict
    from pytest_kgate.statistics.gate_facts import GateFacts

VERDICTS: tuple[RecordVerdict, ...] = ("ERROR", "WRONG", "INVALID", "FAIL", "INCONCLUSIVE", "PASS", "MEASURED")
"""Of a record, worst first. ERROR: the candidate could not run. WRONG: its answer is not the exact one, so it was not
timed, or its timed launches are not to be believed. MEASURED: nothing was demanded."""


def overall_verdict(
    gates: Iterable[GateFacts],
    correctness: CorrectnessFacts | None = None,
    ran: bool = True,
) -> RecordVerdict:
    """The verdict of a record: the worst of its gates and of the correctness check.

    `ran` is False where the candidate could not be built, raised, hung or faulted.
    """
    found: list[RecordVerdict] = [gate["verdict"] for gate in gates]
    if correctness is not None:
        found.append("WRONG" if correctness["verdict"] == "FAIL" else correctness["verdict"])
    if not ran:
        found.append("ERROR")
    return min(found, key=VERDICTS.index, default="MEASURED")
