"""What the tests' own gates said of a finalist, from the answer of `kgate evaluate`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kgate.search.policy.trial import Confirmation
from pytest_kgate.search.running.reading.estimate import labels
from pytest_kgate.search.running.reading.outcome import shortened

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.search.running.child.order import Answered
    from pytest_kgate.search.space.configuration import Configuration

_NO_GATE = "No gate of the test demands speed, so that nothing could be confirmed. Add @pytest.mark.speedup(1.0)."


def confirmation_of(configuration: Configuration, answered: Answered, alpha: float, processes: int) -> Confirmation:
    """Passed where the tests passed, each of their calls with a gate on its latency ratio.

    A race against another revision, which the tests may ask for besides, can fail them, and is no ratio of the problem.
    """
    answer = answered.answer
    records: list[Record] = [one for one in answer["records"] if "against" not in one] if answer else []
    verdicts = {label: str(one["verdict"]) for label, one in zip(labels(records), records, strict=True)}
    ratios = {
        label: found for label, one in zip(labels(records), records, strict=True) if (found := _ratio(one)) is not None
    }
    passed = answer is not None and bool(answer["passed"]) and set(verdicts.values()) == {"PASS"}
    reason = ""
    if passed and len(ratios) < len(records):
        passed, reason = False, _NO_GATE
    elif not passed:
        first = next((one["reason"] for one in records if one["verdict"] != "PASS"), "")
        reason = shortened(answered.lost if answer is None else first or answer["feedback"])
        if verdicts and set(verdicts.values()) == {"MEASURED"}:
            reason = _NO_GATE
    return Confirmation(configuration, passed, alpha, processes, verdicts, ratios, reason)


def _ratio(record: Record) -> tuple[float, float, float] | None:
    """Ratio and both ends of its interval, of the gate on the median where there is one."""
    gates = [gate for gate in record["gates"] if gate["ratio"] is not None]
    gate = next((one for one in gates if one["quantile"] == 0.5), gates[0] if gates else None)
    if gate is None or gate["ratio"] is None:
        return None
    ratio = gate["ratio"]
    return float(ratio["estimate"]), float(ratio["low"]), float(ratio["high"])
