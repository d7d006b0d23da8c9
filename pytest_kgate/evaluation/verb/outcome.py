"""From what is known of the session to the answer of `kgate evaluate`, and its exit status."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import cast

from pytest_kgate.evaluation.verb import feedback
from pytest_kgate.evaluation.verb.answer import SCHEMA
from pytest_kgate.evaluation.verb.answer import VERSION
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.report.rows import number
from pytest_kgate.system.child_process import signal_name

if TYPE_CHECKING:
    from typing import Any

    from pytest_kgate.evaluation.verb.answer import Evaluation
    from pytest_kgate.evaluation.verb.answer import Ratio
    from pytest_kgate.evaluation.verb.answer import Stage
    from pytest_kgate.evaluation.verb.session import Ended
    from pytest_kgate.report.record.record import Record

PASSED, FAILED, MISUSED, BUSY = 0, 1, 2, 75
"""Exit statuses; 75 is EX_TEMPFAIL of sysexits.h: try later."""

_NOT_FOUND = re.compile(r"^ERROR: (file or directory )?not found: ", re.MULTILINE)
"""As pytest says it."""

_COMPARABLE = ("PASS", "FAIL", "INCONCLUSIVE", "NOT MEASURED", "MEASURED")
"""Verdicts on a candidate whose answers are right, or were not to be looked at."""


def exit_status(answer: Evaluation) -> int:
    """The exit status of the command: 0 passed, 1 not, 2 misuse, 75 try again."""
    if answer["verdict"] in ("MISUSE", "BUSY"):
        return MISUSED if answer["verdict"] == "MISUSE" else BUSY
    return PASSED if answer["passed"] else FAILED


def misuse(what: str, stage: Stage | None = None) -> Evaluation:
    """The answer where the candidate was not judged, and is not at fault."""
    return _answer("MISUSE", stage, what)


def answer_of(ended: Ended, limit_seconds: float, width: int = feedback.WIDTH) -> Evaluation:
    """The worst of the test's calls, or how the session ended before there was any; feedback in so many columns."""
    answer = _judged(ended, limit_seconds, width)
    answer["records"], answer["builds"] = list(ended.records), list(ended.builds)
    answer["searches"], answer["speed_gates"] = list(ended.searches), list(ended.speed_gates)
    return answer


def _judged(ended: Ended, limit_seconds: float, width: int) -> Evaluation:
    steps = [step for step in ended.steps if step != "wait"]
    stage = cast("Stage | None", steps[-1] if steps else None)
    waiting = bool(ended.steps) and ended.steps[-1] == "wait"
    lost = _lost(ended, limit_seconds, stage)
    refused = next((one["reason"] for one in ended.records[-1:] if one["verdict"] == "INVALID"), None)
    if waiting and (refused or ended.status is None):
        return _answer("BUSY", stage, refused or f"Another process kept the device for {limit_seconds:g} s.")
    if lost is not None:
        if stage is None:
            return misuse(
                f"{lost}, before the test came to its kbench call. pytest said:\n{feedback.last_lines(ended.said)}"
            )
        return _answer("ERROR", stage, f"{lost}, in its {_named(stage)}.{feedback.last_words(ended.said)}")
    told = "\n".join(report["told"] for report in ended.reports)
    if ended.damaged and stage is not None:
        return _answer("ERROR", stage, f"The record of the call was damaged while the candidate ran. {ended.damaged}")
    if not ended.records and stage in ("check", "time") and "SystemExit" in told:
        return _answer("ERROR", stage, feedback.shortened(f"The candidate ended the test.\n{told}".rstrip()))
    if not ended.records:
        return _answer("MISUSE", stage, _why_not_judged(ended, told))
    own = _own(ended.records)
    # A race against another revision can fail; where there was none to be had, the test's own gates decide.
    judged = [record for record in ended.records if "against" not in record or record["gates"]]
    worst = min(judged, key=lambda record: VERDICTS[record["verdict"]].rank)
    at = _calls(ended.steps, len(own))[own.index(worst)] if worst in own else "time"
    answer = _of_record(worst, at, feedback.told_of(worst, ended.records, ended.reports), width)
    answer["score"] = min(_score(record) for record in own)
    if answer["passed"] and ended.status != 0:
        answer["passed"], answer["score"] = False, 0.0
        answer["feedback"] = feedback.shortened(
            f"kbench passed, but the test failed:\n{told or feedback.last_lines(ended.said)}"
        )
    return answer


def _lost(ended: Ended, limit_seconds: float, stage: Stage | None) -> str | None:
    """How the session ended without its end, as a clause; None where it ended as sessions do."""
    if ended.stuck:
        return f"{ended.stuck}, and can't be interrupted: it ended the process"
    if ended.status is None and ended.reports and len(_own(ended.records)) == len(_calls(ended.steps)):
        return None  # all was judged, and only the session's own end is missing
    if ended.status is None:
        return f"The time limit of {limit_seconds:g} s ended the candidate" if stage else "The time limit was over"
    if ended.status < 0:
        name = signal_name(-ended.status)
        memory = " (the system does that where memory is short)" if name == "SIGKILL" else ""
        return f"The candidate crashed: {name} ended the process{memory}" if stage else f"{name} ended pytest"
    unfinished = stage is not None and not ended.reports
    return f"The candidate ended the process, with status {ended.status}" if unfinished else None


def _own(records: Sequence[Record]) -> list[Record]:
    """Those of the test's own calls: without their races against another revision."""
    return [record for record in records if "against" not in record]


def _why_not_judged(ended: Ended, told: str) -> str:
    if not ended.reports and _NOT_FOUND.search(ended.said):
        return "pytest finds no such test. `pytest --collect-only -q` lists what there is."
    skipped = [report["told"] for report in ended.reports if report["outcome"] == "skipped"]
    if skipped:
        return f"The test was skipped: {skipped[0]}"
    if ended.reports and ended.status in (0, 1) and "build" not in ended.steps and not told:
        return "The test does not call kbench, so that it judges nothing. Name one that does."
    return feedback.shortened(f"The test could not judge the candidate:\n{told or feedback.last_lines(ended.said)}")


def _calls(steps: Sequence[str], least: int = 0) -> list[Stage]:
    """The last step of each call; of so many calls at least, for a candidate may have removed notes."""
    last: list[Stage] = []
    for step in steps:
        if step == "build" or not last:
            last.append("build")
        if step in ("check", "time"):
            last[-1] = cast("Stage", step)
    return last + ["build"] * (least - len(last))


def _of_record(record: Record, stage: Stage, told: str, width: int) -> Evaluation:
    at_fault = "at_fault" in record
    answer = _answer("MISUSE" if at_fault else record["verdict"], stage, feedback.of_record(record, told, width))
    answer["passed"] = VERDICTS[record["verdict"]].passes
    answer["ratio"] = _ratio(record)
    answer["resources"] = record["candidate"]["resources"]
    answer["record"] = record
    return answer


def _ratio(record: Record) -> Ratio | None:
    """Of the median latency, or of the quantile that a gate names where none is of the median."""
    gates = [gate for gate in record["gates"] if gate["ratio"] is not None]
    gate = next((one for one in gates if one["quantile"] == 0.5), gates[0] if gates else None)
    timing = record["timing"]
    found = gate["ratio"] if gate else timing.get("ratio") if timing else None
    if found is None:
        return None
    low, estimate, high = (number(found[key]) for key in ("low", "estimate", "high"))
    if not (low > 0 and math.isfinite(high)):
        return None
    bound = gate["bound"] if gate else None
    return {"estimate": estimate, "low": low, "high": high, "confidence": found["confidence"], "bound": bound}


def _score(record: Record) -> float:
    correctness, ratio = record["correctness"], _ratio(record)
    right = correctness is not None and correctness["verdict"] == "PASS" and record["verdict"] in _COMPARABLE
    return 1 / ratio["high"] if right and ratio else 0.0


def _named(stage: Stage) -> str:
    return {"build": "build or import", "check": "check", "time": "race"}[stage]


def _answer(verdict: Any, stage: Stage | None, text: str, resources: Sequence[Any] = ()) -> Evaluation:
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "verdict": verdict,
        "passed": False,
        "stage": stage,
        "score": 0.0,
        "ratio": None,
        "feedback": text,
        "resources": list(resources),
        "record": None,
        "records": [],
        "builds": [],
        "searches": [],
        "speed_gates": [],
    }
