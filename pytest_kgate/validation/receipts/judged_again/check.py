"""The check of the answers, as far as a record can tell: its errors come from answers that it does not hold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.validation.receipts.judged_again.compare import differences

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.correctness import CorrectnessFacts


def of_check(found: CorrectnessFacts) -> Iterator[str]:
    """What does not fit together: the verdict with the draws' errors, and these with the tolerance."""
    path = "correctness"
    passed = found["verdict"] == "PASS"
    if passed is bool(found["reason"]) or passed is bool(found.get("failed", "" if passed else "?")):
        yield f"{path} is {found['verdict']}, and its reason is {found['reason']!r}"
    draws = found["draws"]
    if passed and not draws:
        yield f"{path} is PASS without a draw"
    for arm in ("candidate_error", "reference_error") if draws else ():
        largest = max(_number(draw[arm]) for draw in draws)
        yield from differences(f"{path}.{arm}", _number(found[arm]), largest)
    if found.get("by_equal"):
        return
    one_tolerance = found["rtol"] == 0 and not found.get("default_tolerance") and not found.get("outputs")
    for index, draw in enumerate(draws):
        excess, where = _number(draw["excess"]), f"{path}.draws[{index}]"
        row_excess = _number(draw.get("row_excess", 0.0))
        if passed and (excess > 0 or row_excess > 1):
            yield f"{where} is beyond the tolerance, and the check is PASS"
        if one_tolerance and math.isfinite(excess):
            error = _number(draw["candidate_error"])
            if not math.isclose(error - excess, found["atol"], rel_tol=1e-6):
                yield f"{where} is off by {error:.6g}, {excess:.6g} beyond a tolerance that is {found['atol']:g}"


def _number(value: Any) -> float:
    """An error; one that is not finite is null, or a string in records of other versions."""
    return math.inf if value is None else float(value)
