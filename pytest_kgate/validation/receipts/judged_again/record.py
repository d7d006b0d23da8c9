"""One record judged again: what of it does not follow from what it holds. Pure, and without a GPU.

All that decides is made anew from the samples with the rule of the race: each gate's verdict, interval, p value and
look, the arms' medians and percentiles, then the record's verdict from those of its gates, of its check and of its
limits. What can't be made anew is held together: an error with its tolerance, a value with its bound.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate.bench.correctness.comparison.findings import idle
from pytest_kgate.bench.seeds import root_of
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.grids.shape_text import parse_shape
from pytest_kgate.report.record.verdicts import worst
from pytest_kgate.validation.receipts.judged_again.check import of_check
from pytest_kgate.validation.receipts.judged_again.evidence import first_seed
from pytest_kgate.validation.receipts.judged_again.evidence import of_evidence
from pytest_kgate.validation.receipts.judged_again.gates import of_gates
from pytest_kgate.validation.receipts.judged_again.limits import of_counters
from pytest_kgate.validation.receipts.judged_again.limits import of_limits
from pytest_kgate.validation.receipts.judged_again.timing import of_timing

if TYPE_CHECKING:
    from pytest_kgate.problems.shape import Shape
    from pytest_kgate.report.record.record import ProblemFacts
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
        yield from of_counters(record)
    except (ArithmeticError, ValueError) as error:  # of values that no race leaves
        yield f"its gates can't be judged: {error}"
    # The rounds of a joint race are of its first candidate's seed, which the check of another one has not drawn by.
    seeds = (first_seed(record), record["seeds"]["session"]) if record["seeds"].get("book", 1) > 1 else ()
    yield from of_check(record, {*map(root_of, seeds)})
    yield from of_evidence(record)
    yield from _of_margin(record)
    yield from _of_problem(record["problem"])
    yield from _of_verdict(record)


def _of_verdict(record: Record) -> Iterator[str]:
    verdict = record["verdict"]
    if (verdict in ("PASS", "MEASURED")) is bool(record["reason"]):
        yield f"it is {verdict} {'for a reason' if record['reason'] else 'without a reason'}"
    if "selftest" in record:
        lived = bool(record["selftest"]["lived"])
        if verdict != ("FAIL" if lived else "PASS"):
            yield f"it is {verdict}, and mutants {'lived' if lived else 'were all killed'}"
        if record["gates"] or record.get("limits") or record["timing"] is not None:
            yield "it is of a self-test, which races nothing, and has gates, limits or a race"
        return
    expected = _expected(record)
    if verdict != expected and not _withheld(record, expected):
        yield f"it is {verdict}, and its gates, its check and its limits make it {expected}"
    check = record["correctness"]
    if verdict == "WEAK" and not (check is not None and idle(check.get("weak", ()))):
        yield "it is WEAK, and its check names no answer without work that it would let pass"


def _of_problem(problem: ProblemFacts) -> Iterator[str]:
    """Of attention, the name has the shape and the type, and the rest follows from these: rules look at the name."""
    named = re.fullmatch(r"sdpa (?:with lse )?(\S+) (\S+)", problem["name"])
    if named is None:
        return
    try:
        shape, flops = _attention(named[1])
    except UsageError:
        yield f"its problem is {problem['name']!r}, which is no attention"
        return
    facts = {
        "shape": [shape.batch, shape.heads, shape.seqlen, shape.head_dim],
        "causal": shape.causal,
        "dtype": named[2],
        "flops": flops,
    }
    for name, value in facts.items():
        if value is not None and problem[name] != value:  # type: ignore[literal-required]
            yield f"its problem is {problem['name']!r}, whose {name} is {value}"


@functools.cache
def _attention(text: str) -> tuple[Shape, float | None]:
    shape = parse_shape(text)
    if shape.seqlen > _LONGEST:
        return shape, None
    pairs = sum(len(shape.visible(row)) for row in range(shape.seqlen))
    return shape, 4.0 * shape.batch * shape.heads * pairs * shape.head_dim


_LONGEST = 2**20
"""Rows whose keys are counted, in some tenths of a second."""


def _of_margin(record: Record) -> Iterator[str]:
    """The gate of a race against another revision is set by its margin."""
    against = record.get("against")
    for gate in record["gates"] if against else ():
        assert against is not None
        if not math.isclose(gate["bound"], 1 + against["margin"]):
            yield f"its bound is {gate['bound']:g}, and the margin to the other revision {against['margin']:g}"


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
