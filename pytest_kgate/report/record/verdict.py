"""The verdict of a record, from those of its gates and of its check."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from pytest_kgate.report.record.values import plain

VERDICTS = ("ERROR", "WRONG", "INVALID", "FAIL", "INCONCLUSIVE", "PASS", "MEASURED")
"""Of a record, worst first. ERROR: the candidate could not run. WRONG: its answer is not the exact one, so it was not
timed, or its timed launches are not to be believed. MEASURED: nothing was demanded."""


def overall_verdict(
    gates: Iterable[Mapping[str, Any]],
    correctness: Mapping[str, Any] | None = None,
    ran: bool = True,
) -> str:
    """The verdict of a record: the worst of its gates and of the correctness check.

    `ran` is False where the candidate could not be built, raised, hung or faulted.
    """
    found = [str(plain(gate["verdict"])) for gate in gates]
    if correctness is not None:
        checked = str(plain(correctness["verdict"]))
        found.append(checked if checked in ("PASS", "INVALID") else "WRONG")
    if not ran:
        found.append("ERROR")
    return min(found, key=VERDICTS.index, default="MEASURED")
