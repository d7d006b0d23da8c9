"""What a comparison of an answer with the exact one is held to, and what it finds."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_kgate.problems.rounding.dtypes import dtype_name
from pytest_kgate.report.format import significant

if TYPE_CHECKING:
    from pytest_kgate.bench.correctness.comparison.slices import WorstSlice
    from pytest_kgate.report.record.facts.correctness import FailedCheck

IDLE = ("zeros", "one number everywhere", "a remembered answer")
"""Answers of a kernel that does no work. A check that lets one of them pass proves nothing."""


def idle(weak: Iterable[str]) -> list[str]:
    """Those of the wrong answers that a check lets pass which take no work, in all outputs or in a named one."""
    return [name for name in weak if name.partition(" (")[0] in IDLE]


FACTOR_16_BIT = 3.0
"""How many times the reference's rms error an answer in 16 bits may have. Kernels that accumulate in float32 came to
1.2 at most (1.9 where they round scaled queries), bfloat16 passed off as float16 to 6.8 at least, and fp8 to more."""

FACTOR_WIDE = 32.0
"""The same for float32 and float64, where the order of summation alone makes a factor of 8 over 16,384 terms, and TF32
one of 2,500."""

ROW_FACTOR = 8.0
"""A single row may be off by so many times more. In 16 bits the worst row came to 1.8 times the reference's error (13
where scaled queries are rounded), and a missing one to 430 at least."""


def default_factor(*, wide: bool) -> float:
    """How many times the reference's rms error is allowed by default; `wide`: of answers in more than 16 bits."""
    return FACTOR_WIDE if wide else FACTOR_16_BIT


@dataclass(frozen=True)
class Limits:
    """How far off an answer to one draw may be: tolerances of each element, and a factor on the reference's error."""

    atol: float
    rtol: float
    factor: float
    """How many times the reference's rms error the answer may have; infinite where only the tolerances count."""
    coarse: bool = False
    """Whether the test has named that factor, so that an answer may be of fewer bits than its type has."""
    of_problem: bool = False
    """Whether the problem gives them for this output."""


@dataclass(frozen=True)
class Place:
    """The element of an answer that is furthest off, and how many others are off."""

    index: tuple[int, ...]
    """Of the element."""
    answer: float | int | complex
    """What stands there."""
    exact: float | int | complex
    """What belongs there."""
    wrong_fraction: float
    """Of all elements, those beyond the tolerance."""
    not_finite_fraction: float
    """Of all elements, those whose error is NaN or Inf."""


@dataclass(frozen=True)
class Comparison:
    """The errors of one answer against the exact one, and the check that it failed, if any."""

    error: float
    """max |answer - exact|; infinite where the answer is NaN or Inf and the exact one is not."""
    rms_error: float
    """Root mean square of answer - exact."""
    excess: float
    """max of |answer - exact| - (atol + rtol |exact|); positive is too far off."""
    row_excess: float
    """The largest error of a row over what is allowed there; above 1 is too far off."""
    failed: FailedCheck
    """The check that it failed: `tolerance`, `rms`, `rows`, `bits`, `slices` or `equal`; empty where it passed all."""
    reason: str
    """What was found and what was allowed; empty where it passed."""
    place: Place
    """The worst element."""
    worst_slice: WorstSlice | None = None
    """Where slices are held to TF32."""


@dataclass(frozen=True)
class RowError:
    """How far off one row of an answer is."""

    size: float
    """Its rms error over its own rms."""
    error: float
    """Its rms error."""


def tolerance_reason(error: float, limits: Limits, place: Place) -> str:
    """What was found and what was allowed; `place` is the element that is furthest off."""
    if not math.isfinite(error):
        if cmath.isfinite(place.answer):
            return f"the output is finite where the exact answer is {place.exact}"
        return "the output holds NaN or Inf"
    relative = f" + {limits.rtol:g} |exact|" if limits.rtol else ""
    return f"max |candidate - exact| is {error:.3g}, allowed is {limits.atol:.3g}{relative}"


def rms_reason(rms_error: float, baseline: float, limits: Limits, output_rms: float, *, of_reference: bool) -> str:
    """What was found and what was allowed of the whole answer's error; `baseline` is the reference's, or rounding's."""
    than = "the reference's" if of_reference else "rounding's"
    times = rms_error / baseline if baseline else math.inf
    return (
        f"the rms error is {significant(times)} times {than} ({rms_error:.2g}, where the output's rms is "
        f"{output_rms:.2g}), allowed is {limits.factor:g} times"
    )


def rows_reason(index: Sequence[int], squared_error: float, allowed: float, squares: float) -> str:
    """What was found and what was allowed of the row that is furthest off, whose worst element has this index.

    `allowed` is of the squared error, and `squares` of the exact answer: both are sums over the row.
    """
    place = ", ".join(map(str, index[:-1]))
    where = f"row [{place}]" if place else f"the row of element {index[-1]}"
    own = f", {math.sqrt(squared_error / squares):.2g} of its own size" if squares else ""
    times = math.sqrt(squared_error / allowed) if allowed else math.inf
    return f"{where} is off by {significant(times)} times what is allowed in a row{own}"


def bits_reason(low: str, dtype: torch.dtype) -> str:
    """What was found of an answer of `dtype`, whose values end in zero bits: those of `low`, a type in words."""
    name = dtype_name(dtype)
    return f"the output is {name}, and its values were rounded to {low}; the reference's were not"
