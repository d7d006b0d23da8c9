"""One record judged again: what of it does not follow from what it holds. Pure, and without a GPU.

All that decides is made anew from the samples with the rule of the race: each gate's verdict, interval, p value and
look, the arms' medians and percentiles, then the record's verdict from those of its gates, of its check and of its
limits. What can't be made anew is held together: an error with its tolerance, a value with its bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate.bench.correctness.comparison.findings import IDLE
from pytest_kgate.bench.processes.isolated import slowed_down
from pytest_kgate.errors import KgateError
from pytest_kgate.report.record.verdicts import worst
from pytest_kgate.validation.receipts.judged_again.check import of_check
from pytest_kgate.validation.receipts.judged_again.gates import of_gates
from pytest_kgate.validation.receipts.judged_again.gates import tries_of
from pytest_kgate.validation.receipts.judged_again.limits import of_limits
from pytest_kgate.validation.receipts.judged_again.timing import of_timing

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.report.record.record import RecordVerdict
    from pytest_kgate.statistics.judge_processes import Run


def complaints(record: Record) -> Iterator[str]:
    """What does not fit, a clause each; none for a record as the rule has made it."""
    runs: Sequence[Run] = []
    if record["timing"] is not None:
        try:
            found, runs = of_timing(record["timing"], fixed_rounds="measured" in record)
        except KgateError as error:
            yield f"its samples can't be read: {error.what}"
            return
        yield from found
    try:
        yield from of_gates(record, runs)
        yield from of_limits(record, runs)
    except (ArithmeticError, ValueError) as error:  # of values that no race leaves
        yield f"its gates can't be judged: {error}"
    if record["correctness"] is not None:
        yield from of_check(record["correctness"])
    yield from _of_tries(record)
    yield from _of_verdict(record)


def _of_tries(record: Record) -> Iterator[str]:
    """A disturbed race is raced once more, with the seed that follows; the record's rounds are those of the last."""
    timing, tries = record["timing"], tries_of(record)
    if not tries or timing is None:
        return
    last = tries[-1]
    if last["seed"] != record["seeds"]["race"]:
        yield "seeds.race is not that of the race that counts"
    if last.get("rounds", timing["rounds"]) != timing["rounds"]:
        yield f"timing.rounds are {timing['rounds']}, and its last race took {last.get('rounds')}"
    verdicts = last.get("verdicts")
    gates = [gate["verdict"] for gate in record["gates"]]
    if verdicts and gates and "INVALID" not in gates and verdicts != gates:
        yield f"its gates are {', '.join(gates)}, and its last race left {', '.join(verdicts)}"


def _of_verdict(record: Record) -> Iterator[str]:
    verdict = record["verdict"]
    if (verdict in ("PASS", "MEASURED")) is bool(record["reason"]):
        yield f"it is {verdict} {'for a reason' if record['reason'] else 'without a reason'}"
    if "selftest" in record:
        lived = bool(record["selftest"]["lived"])
        if verdict != ("FAIL" if lived else "PASS"):
            yield f"it is {verdict}, and mutants {'lived' if lived else 'were all killed'}"
        return
    expected = _expected(record)
    if verdict != expected and not _withheld(record, expected):
        yield f"it is {verdict}, and its gates, its check and its limits make it {expected}"
    check = record["correctness"]
    if verdict == "WEAK" and not (check is not None and set(check.get("weak", ())) & set(IDLE)):
        yield "it is WEAK, and its check names no answer without work that it would let pass"
    isolation = record.get("isolation")
    if isolation is not None and verdict == "PASS" and slowed_down(isolation, record["gates"]):
        yield "it is PASS, and what its processes slowed the reference down by was not charged to it"


def _withheld(record: Record, expected: RecordVerdict) -> bool:
    """Whether the verdict may be worse than those of gates, check and limits: for what the reason says besides."""
    if record["verdict"] == "INVALID":
        return not record["gates"]  # else these are INVALID themselves
    if record["verdict"] == "WEAK":
        return expected == "PASS"
    return record["verdict"] == "ERROR"


def _expected(record: Record) -> RecordVerdict:
    check = record["correctness"]
    verdicts: list[RecordVerdict] = [gate["verdict"] for gate in record["gates"]]
    verdicts += [limit["verdict"] for limit in record.get("limits", ())]
    if check is not None and check["verdict"] != "PASS":
        # A call without a gate measures wrong candidates as well, and says so.
        counts = record["gates"] or record["timing"] is None or record["verdict"] == "WRONG"
        verdicts += (["WRONG"] if check["verdict"] == "FAIL" else ["INVALID"]) if counts else []
    elif check is not None and not record["gates"] and record["verdict"] == "PASS":
        verdicts.append("PASS")  # where only a tolerance is demanded
    found = worst(verdicts)
    return "MEASURED" if found == "PASS" and "measured" in record else found
