"""The check of the answers, as far as a record can tell: its errors come from answers that it does not hold."""

from __future__ import annotations

import math
from collections.abc import Collection
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.bench.correctness.comparison.draws import draws_of
from pytest_kgate.bench.correctness.comparison.findings import idle
from pytest_kgate.validation.receipts.judged_again.compare import differences

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.correctness import CorrectnessFacts
    from pytest_kgate.report.record.facts.correctness import DrawFacts
    from pytest_kgate.report.record.record import Record

_PATH = "correctness"


def of_check(record: Record, roots: Collection[int]) -> Iterator[str]:
    """What does not fit together: the verdict with the draws' errors, these with the tolerance, draws with their seeds.

    `roots` are what the call's seeds may follow from; none where it drew by another book.
    """
    found = record["correctness"]
    if found is None:
        return
    passed, draws = found["verdict"] == "PASS", found["draws"]
    if passed is bool(found["reason"]) or passed is bool(found.get("failed", "" if passed else "?")):
        yield f"{_PATH} is {found['verdict']}, and its reason is {found['reason']!r}"
    if passed and not draws:
        yield f"{_PATH} is PASS without a draw"
    drawn = [(draw["kind"], draw["seed"]) for draw in draws]
    if passed and roots and all(drawn != list(draws_of(root)) for root in roots):
        yield f"{_PATH}.draws are not those that follow from the call's seed"
    for arm in ("candidate_error", "reference_error") if draws else ():
        said, largest = _number(found[arm]), max(_number(draw[arm]) for draw in draws)
        if not math.isinf(said) or not math.isinf(largest):
            yield from differences(f"{_PATH}.{arm}", said, largest)
    for index, draw in enumerate(draws):
        yield from _of_draw(f"{_PATH}.draws[{index}]", found, draw)
    for index, output in enumerate(found.get("outputs", ())):
        if not found.get("default_tolerance") and (output["atol"], output["rtol"]) != (found["atol"], found["rtol"]):
            yield f"{_PATH}.outputs[{index}] has a tolerance of its own, and the test named one"
    passes = idle(found.get("weak", ()))
    if passes and record["verdict"] == "PASS" and "asked" in record and "weak" not in record["asked"]["sources"]:
        yield f"it is PASS, and its check would let pass {', '.join(sorted(passes))}, which nothing has allowed"


def _of_draw(where: str, found: CorrectnessFacts, draw: DrawFacts) -> Iterator[str]:
    excess, rows, error = (_number(draw.get(name, 0.0)) for name in ("excess", "row_excess", "candidate_error"))
    # As a word, which no error is, NaN would be on the right side of any bound.
    if found["verdict"] == "PASS" and not (-math.inf < excess <= 0 and 0 <= rows <= 1 and 0 <= error < math.inf):
        yield f"{where} is beyond the tolerance, and the check is PASS"
    worst = draw.get("worst_slice")
    if found["verdict"] == "PASS" and worst is not None and not _number(worst["times"]) <= _number(worst["allowed"]):
        yield f"{where}.worst_slice is beyond what is allowed, and the check is PASS"
    one_tolerance = found["rtol"] == 0 and not found.get("default_tolerance")
    if one_tolerance and math.isfinite(excess) and not math.isclose(error - excess, found["atol"], rel_tol=1e-6):
        yield f"{where} is off by {error:.6g}, {excess:.6g} beyond a tolerance that is {found['atol']:g}"


def _number(value: Any) -> float:
    """An error; one that is not finite is null, or a string in records of other versions."""
    return math.inf if value is None else float(value)
