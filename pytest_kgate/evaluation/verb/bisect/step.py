"""One step of a bisection: the test's candidates, as they lie on disk, raced against what they were at one commit."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.verb.session import Asked
from pytest_kgate.evaluation.verb.session import Ended
from pytest_kgate.report import format as text

if TYPE_CHECKING:
    from pytest_kgate.evaluation.verb.bisect.course import Answer
    from pytest_kgate.report.record.record import Record

_BUDGETS = (10.0, 40.0)
"""Seconds of a race, and of the second one where the first ended undecided."""

_SLACK_SECONDS = 120.0
"""Of a session, beside the budgets of its races: to start, to compile, to check."""


@dataclass(frozen=True)
class Step:
    """What was found of one commit."""

    answer: Answer
    told: str
    """In words: the ratio, or why there is none."""


def step(test: str, commit: str, arguments: Sequence[str], judged: Callable[[Asked], Ended]) -> Step:
    """Race, and once more for longer where that was not decided; raises `UsageError` where nothing can be raced."""
    found = Step("unknown", "")
    for budget in _BUDGETS:
        asked = (f"--kgate-against={commit}", f"--kgate-budget={budget:g}", *arguments)
        ended = judged(Asked(None, test, asked, _SLACK_SECONDS + 8 * budget))
        raced = [record for record in ended.records if "against" in record]
        if not raced:
            said = ended.stuck or ended.damaged or ended.said.strip() or "the session was ended at its limit"
            raise UsageError(
                f"{test} raced no candidate against {commit[:9]}: {said}",
                "Name one test that hands kbench a candidate from a file of this repository, and that passes as it is.",
            )
        found = told_by(raced)
        if found.answer != "unknown" or {record["verdict"] for record in raced} <= {"NOT MEASURED"}:
            break
    return found


def told_by(records: Sequence[Record]) -> Step:
    """What the races of a session against one commit say of it.

    It is fast where a kernel is slower now than it was there; as slow as now where none is.
    """
    faster = next((one for one in records if one["verdict"] == "FAIL" and one["gates"]), None)
    if faster is not None:
        return Step("fast", f"faster: now {_more(faster)} of its latency")
    undecided = next((one for one in records if not _is_as_slow(one)), None)
    if undecided is not None:
        return Step("unknown", f"{undecided['verdict']}: {undecided['reason']}")
    raced = next((one for one in records if one["gates"]), None)
    return Step("slow", "the same build as now" if raced is None else f"as slow: now {_more(raced)} of its latency")


def _is_as_slow(record: Record) -> bool:
    return record["verdict"] == "PASS" or ("against" in record and record["against"]["same"])


def _more(record: Record) -> str:
    ratio = record["gates"][0]["ratio"]
    if ratio is None:
        return "an unknown share"
    estimate, low, high = (float(ratio[name]) for name in ("estimate", "low", "high"))
    decimals = text.decimals_for(low, high, estimate)
    return f"{text.ratio(estimate, decimals)} {text.interval(low, high, decimals)}"
