"""Multiple gates in one session: how many false passes to expect, and the Benjamini-Hochberg control that limits them.

Works on records, and imports nothing heavy: under xdist it runs in the controller. Gates under the classic rule are
left out, for they have no p value that holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.record.verdicts import overall_verdict
from pytest_kgate.report.record.verdicts import worst

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.statistics.gate_facts import GateFacts

ENOUGH_GATES = 10
"""From here on the summary says how many false passes to expect: a quarter of one."""


def benjamini_hochberg(p_values: Sequence[float], rate: float) -> float:
    """The Benjamini-Hochberg threshold: the largest p value that still counts as significant; 0 where none does.

    On average, at most `rate` of the p values up to it are false discoveries.

    Benjamini and Hochberg, JRSS B 57, 1995; holds for independent gates and for those that share a race, whose
    p values rise together.
    """
    ordered = sorted(p_values)
    kept = [p for rank, p in enumerate(ordered, start=1) if p <= rate * rank / len(ordered)]
    return kept[-1] if kept else 0.0


def control(records: Sequence[Record], rate: float) -> tuple[list[Record], list[str]]:
    """Turn every PASS to FAIL that is not significant at this false discovery rate.

    Returns the records and a line on each gate that was turned.

    A gate that did not pass, whatever its p value, counts as one with p = 1, so that all that is kept has passed
    its own gate too.
    """
    gates = list(_sequential(records))
    limit = benjamini_hochberg([_p(gate) for _, gate in gates], rate)
    passed = sum(gate["verdict"] == "PASS" for _, gate in gates)
    kept = sum(_p(gate) <= limit and gate["verdict"] == "PASS" for _, gate in gates)
    if kept == passed:
        return list(records), []
    next_limit = rate * (kept + 1) / len(gates)
    lines = []

    def judged(record: Record, gate: GateFacts) -> GateFacts:
        if gate.get("rule") == "classic" or gate["verdict"] != "PASS" or _p(gate) <= limit:
            return gate
        what = (
            f"passed on its own, but its p value of {_p(gate):.2g} is too large among {len(gates)} gates: with {kept} "
            f"kept at a false discovery rate of {text.percent(rate)}, the next may have {next_limit:.2g}"
        )
        quantile = "" if gate["quantile"] == 0.5 else f", quantile {gate['quantile']:g}"
        lines.append(f"FAIL {record['test']} speedup({text.bound(gate['bound'])}{quantile}): {what}")
        return {**gate, "verdict": "FAIL", "reason": what}

    changed = []
    for record in records:
        found = [judged(record, gate) for gate in record["gates"]]
        if any(new is not old for new, old in zip(found, record["gates"], strict=True)):
            verdict = worst([record["verdict"], overall_verdict(found)])
            reason = record["reason"] or next(gate["reason"] for gate in found if gate["reason"])
            record = {**record, "gates": found, "verdict": verdict, "reason": reason}
        changed.append(record)
    return changed, lines


def expectation(records: Iterable[Record]) -> str:
    """A sentence on how many false passes to expect by chance alone; empty for fewer than ten gates."""
    levels = [(1 - float(gate["confidence"])) / 2 for _, gate in _sequential(records)]
    if len(levels) < ENOUGH_GATES:
        return ""
    each = text.percent(sum(levels) / len(levels))
    return f"false passes to expect among these {len(levels)} speed gates: at most {sum(levels):.2g} ({each} of each)"


def _sequential(records: Iterable[Record]) -> Iterator[tuple[Record, GateFacts]]:
    for record in records:
        for gate in record["gates"]:
            if gate.get("rule") != "classic":
                yield record, gate


def _p(gate: GateFacts) -> float:
    p = gate.get("sequential_p")
    return 1.0 if gate["verdict"] != "PASS" or p is None else float(p)
