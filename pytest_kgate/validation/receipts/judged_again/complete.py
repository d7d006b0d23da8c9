"""What every record of this version has, and what is not judged where a record lacks it.

Records of older versions may lack it, and are read and shown all the same; as receipts they are not believed, since
whoever leaves out what speaks against a verdict would leave a record of an older version.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_kgate.bench.seeds import VERSION
from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record


def lacking(record: Record) -> Iterator[str]:
    """A clause for each thing that the record lacks."""
    if record["seeds"].get("book") != VERSION:
        yield f"seeds.book is not {VERSION}, by which this version draws"
    if record["timing"] is not None:
        yield from (f"timing.{name} is missing" for name in _of_timing(record))
        passed = ("integrity",) if record["verdict"] == "PASS" else ()
        for name in ("correctness", "reference", *passed):
            if record.get(name) is None:
                yield f"{name} is missing, and it was raced"
    for index, gate in enumerate(record["gates"]):
        yield from (f"gates[{index}].{name} is missing" for name in _OF_GATES if name not in gate)
    check = record["correctness"]
    if check is not None:
        yield from (f"correctness.{name} is missing" for name in ("failed", "weak") if name not in check)
        for index, draw in enumerate(check["draws"]):
            if "row_excess" not in draw:
                yield f"correctness.draws[{index}].row_excess is missing"


_OF_GATES = tuple(Judgement(SpeedGate(1.0), Verdict.INVALID, "", 0).to_dict())


def _of_timing(record: Record) -> Iterator[str]:
    timing = record["timing"]
    assert timing is not None
    for arm in ("candidate", "reference"):
        facts = timing[arm]
        yield from (f"{arm}.{name}" for name in ("percentiles",) if name not in facts)
        yield from (f"{arm}.samples.{name}" for name in ("digest",) if name not in facts["samples"])
    if "offset_sd" not in timing and not timing.get("processes"):
        yield "offset_sd"
    processes = timing.get("processes") or ()
    each = [(f"processes[{index}].evidence", one.get("evidence", {})) for index, one in enumerate(processes)]
    for path, evidence in each or [("evidence", timing.get("evidence", {}))]:
        tries = evidence.get("tries", ())
        if not tries:
            yield f"{path}.tries"
        elif not {"rounds", "verdicts"} <= tries[-1].keys():
            yield f"{path}.tries[{len(tries) - 1}].verdicts"
