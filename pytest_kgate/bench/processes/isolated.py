"""What several processes say of a candidate that each had isolated: put together, and charged to the candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.integrity import IsolationFacts
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.statistics.gate_facts import GateFacts


def isolation_of(record: Record, found: Sequence[Record]) -> IsolationFacts | None:
    """The isolation of all processes together, for the record; None where the candidate was not isolated.

    `record` is that of the process which judges, and has only checked the answers.
    """
    own = record.get("isolation")
    each = [facts for one in found if (facts := one.get("isolation")) is not None]
    if own is None or not each:
        return own
    slowed = [float(facts["reference_slowed"]) for facts in each if facts["reference_slowed"]]
    return {
        "confined": own["confined"],
        "launched_by": each[0]["launched_by"],
        "calls_in_a_row": max(facts["calls_in_a_row"] or 0 for facts in each),
        "verified": sum(facts["verified"] for facts in each),
        "lots": [lot for facts in each for lot in facts.get("lots", [])],
        "reference_slowed": math.exp(math.fsum(map(math.log, slowed)) / len(slowed)) if slowed else None,
    }


def slowed_down(isolation: IsolationFacts, gates: Sequence[GateFacts]) -> str | None:
    """Why a gate is not passed against the reference alone, as one clause; None where each is.

    What the candidate's processes slowed the reference down by, in the geometric mean, is charged to the candidate.
    """
    if isolation["reference_slowed"] is None:
        return None
    slowed = float(isolation["reference_slowed"])
    for gate in gates:
        ratio = gate["ratio"]
        if ratio is not None and float(ratio["high"]) * slowed >= float(gate["bound"]):
            return (
                f"while the candidate's processes lived, the reference took {slowed:.4f} times as long as alone: "
                f"against the reference alone, a ratio below {gate['bound']:g} is not shown"
            )
    return None
