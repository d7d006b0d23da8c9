"""Rules on which records there must be: the tests that are expected, with what they demand, and how old they may be."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.report import format as text
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.report.rows import quantile_name
from pytest_kgate.report.together.policy.findings import Finding
from pytest_kgate.report.together.policy.findings import Reading

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.correctness import CorrectnessFacts
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.statistics.gate_facts import GateFacts

_AHEAD_SECONDS = 300.0
"""By which the clock of the machine that measured may be ahead of ours."""

_DAY = 86400.0


def expected(line: int, values: Mapping[str, Any], records: Sequence[Record]) -> Finding:
    """The finding of a rule on this line: whether so many tests of that name pass, and demand what they must."""
    pattern, least = str(values["test"]), values["at_least"]
    met = [record for record in records if _matches(pattern, record["test"])]
    readings = [_demands(values, record) for record in met]
    tests = {record["test"] for record, one in zip(met, readings, strict=True) if one.holds}
    holds = len(tests) >= least and all(one.holds for one in readings)
    demanded = f"{pattern}{_in_words(values)}: at least {text.counted(least, 'test')}; there are {len(tests)}"
    return Finding("expected", line, demanded, holds, readings)


def _matches(pattern: str, test: str) -> bool:
    """Only * stands for other letters: brackets are part of tests' names."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), test, re.DOTALL) is not None


def _in_words(values: Mapping[str, Any]) -> str:
    parts = []
    if "bound" in values:
        name = quantile_name(values["quantile"])
        parts.append(f"{f'{name} ' if name else ''}bound {values['bound']:g} or stricter")
    if "atol" in values:
        parts.append(f"tolerance {values['atol']:g} or less")
    return f" with {', '.join(parts)}" if parts else ""


def _demands(values: Mapping[str, Any], record: Record) -> Reading:
    """Whether the test has demanded what it must: a looser bound passes more easily."""
    missing = []
    if "bound" in values:
        of_quantile = [gate for gate in record["gates"] if gate["quantile"] == values["quantile"]]
        attempt = record.get("attempt", 1)
        strict = [gate for gate in of_quantile if gate["bound"] <= values["bound"] and is_sure(gate, attempt)]
        shown = ", ".join(f"{gate['bound']:g}" for gate in of_quantile) or "nothing"
        if not strict:
            missing.append(f"its gates demand {shown}")
    if "atol" in values and (found := _tolerance(record["correctness"], values["atol"])):
        missing.append(found)
    if "measured" in record or "selftest" in record:
        missing.append("nothing was judged: it is of --kgate-rounds or of a self-test")
    if not VERDICTS[record["verdict"]].passes:
        missing.append(f"it is {record['verdict']}")
    said = "; ".join(missing) or f"demanded as expected, {record['verdict']}"
    return Reading(record["problem"]["name"], record["test"], not missing, said)


def _tolerance(check: CorrectnessFacts | None, most: float) -> str:
    """Why a check is not as strict as this tolerance; empty where it is."""
    if check is None:
        return "it was not checked"
    if check.get("by_equal"):
        return "its answers are judged by the problem's own `equal`, and by no tolerance"
    if check.get("default_tolerance"):
        by = "the problem itself" if check.get("problem_tolerance") else "the reference's own error"
        return f"its tolerance is {check['atol']:g}, by {by}"
    if check["rtol"] > 0:
        return f"its tolerance is {check['atol']:g} and {check['rtol']:g} of the exact answer"
    if check["atol"] > most:
        return f"its tolerance is {check['atol']:g}"
    return "" if check["verdict"] == "PASS" else f"its check is {check['verdict']}"


def is_sure(gate: GateFacts, attempt: int = 1) -> bool:
    """Whether a gate of the run `attempt` of its test is judged as surely as gates are.

    One of less than 95 % confidence, or of the classic rule, demands less; each try must be surer than the one before.
    """
    from pytest_kgate.statistics.gates import SpeedGate  # which needs NumPy

    least = SpeedGate(gate["bound"]).at_attempt(max(attempt, 1)).confidence
    return gate["confidence"] >= least - 1e-12 and gate.get("rule", "sequential") == "sequential"


def age(line: int, values: Mapping[str, Any], records: Sequence[Record]) -> Finding:
    """The finding of a rule on this line: whether all records are so new, by this machine's clock."""
    most = values["days"]
    now = datetime.datetime.now(datetime.timezone.utc)
    readings = []
    for record in records:
        started = _time(record["started"])
        if started is None:
            readings.append(_reading(record, False, f"{record['started']!r} is no time with a zone"))
            continue
        seconds = (now - started).total_seconds()
        ahead = seconds < -_AHEAD_SECONDS
        said = (
            f"{-seconds / _DAY:.1f} days ahead of this clock" if ahead else f"{max(0.0, seconds) / _DAY:.1f} days ago"
        )
        readings.append(_reading(record, not ahead and seconds <= most * _DAY, f"measured {said}"))
    holds = bool(readings) and all(one.holds for one in readings)
    return Finding("age", line, f"measured at most {most:g} days ago", holds, readings)


def _reading(record: Record, holds: bool, said: str) -> Reading:
    return Reading(record["problem"]["name"], record["test"], holds, said)


def _time(started: str) -> datetime.datetime | None:
    try:
        found = datetime.datetime.fromisoformat(started.replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
