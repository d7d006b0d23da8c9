"""How far off an answer is: five checks, each of which finds what the others can't (docs/oracle.md measures that)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_kgate.bench.correctness.comparison.arithmetic import Arithmetic
from pytest_kgate.bench.correctness.comparison.findings import ROW_FACTOR
from pytest_kgate.bench.correctness.comparison.findings import Comparison
from pytest_kgate.bench.correctness.comparison.findings import Limits
from pytest_kgate.bench.correctness.comparison.findings import Place
from pytest_kgate.bench.correctness.comparison.findings import RowError
from pytest_kgate.bench.correctness.comparison.findings import bits_reason
from pytest_kgate.bench.correctness.comparison.findings import default_factor
from pytest_kgate.bench.correctness.comparison.findings import rms_reason
from pytest_kgate.bench.correctness.comparison.findings import rows_reason
from pytest_kgate.bench.correctness.comparison.findings import tolerance_reason
from pytest_kgate.bench.correctness.comparison.slabs import Answer
from pytest_kgate.bench.correctness.comparison.slabs import Parted
from pytest_kgate.bench.correctness.comparison.slabs import Slab
from pytest_kgate.bench.correctness.comparison.slabs import as_numbers
from pytest_kgate.bench.correctness.comparison.slabs import count_pieces
from pytest_kgate.bench.correctness.comparison.slabs import furthest_of
from pytest_kgate.bench.correctness.comparison.slabs import largest_in_piece
from pytest_kgate.bench.correctness.comparison.slabs import largest_of
from pytest_kgate.bench.correctness.comparison.slabs import part_of
from pytest_kgate.bench.correctness.comparison.slabs import slab_pieces
from pytest_kgate.bench.correctness.comparison.slabs import slabs
from pytest_kgate.bench.correctness.comparison.slices import Envelope
from pytest_kgate.bench.correctness.comparison.slices import SliceErrors
from pytest_kgate.problems.rounding.kept_bits import rounded_to
from pytest_kgate.statistics.gates import ErrorGate

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.correctness import FailedCheck

_SMALL_ROW = 1 / 64
"""Share of the output's rms: a row smaller than that may be off by what rounding does to a row of that size."""

_EXACT_SPACING = 2.0**-38
"""Of the exact answer: its arithmetic is float64 too, and the order of a million sums makes an error of 1e-12. What is
float32 and passed off as float64 is off by 1,000 times what this allows."""


class ExactAnswer:
    """The exact answer to one draw with the reference's error: what an answer to that draw is compared with."""

    def __init__(self, exact: Tensor, reference: Tensor, *, in_pieces: bool = False) -> None:
        """`exact` holds no NaN; `reference` has the dtype that answers have. See `Arithmetic.of` for what it raises.

        `exact` may be on another device than the answers: its slabs are then brought to them.
        """
        self.arithmetic = Arithmetic.of(exact, reference.dtype)
        self.exact = exact
        self.in_pieces = in_pieces
        """Whether the exact answer was made piece by piece, which a trial on a few rows allowed."""
        self.reference = reference
        self.dtype = reference.dtype
        self.device = reference.device
        self.reference_error = self._largest_error = 0.0
        self._overflowing: set[int] = set()
        """Slabs with exact answers that are too large for the answers' type, so that infinity is right there."""
        self._far_beyond = False
        """Whether some are so large that infinity alone is right there, and they are no size to hold others to."""
        self._error_squares = self._no_squares()
        sizes = self._measured()
        for slab, size in zip(self._slabs(), sizes, strict=True):
            if self.dtype.is_floating_point and size > torch.finfo(self.dtype).max:
                self._overflowing.add(slab.start)
        if self._overflowing and max(sizes) > self.arithmetic.far:
            overflows = (self.arithmetic.overflows(self._wide(slab), reference[slab.index]) for slab in self._slabs())
            self._far_beyond = all(overflows)
            sizes = self._measured()
        self._largest = max(sizes, default=0.0)
        found = []
        for slab in self._slabs():
            errors = self._errors(reference, slab)
            # What the reference could not do says nothing of what may be off: NaN would allow anything.
            failed = errors == math.inf
            most = errors.max()
            errors = errors.masked_fill_(failed, 0.0)
            found.append(torch.stack([most, errors.max(), failed.sum().double()]))
            self._add_squares(self._error_squares, errors, slab)
        failures = 0.0
        for most_error, most_finite, failed_there in as_numbers(found):
            self.reference_error = max(self.reference_error, most_error)
            self._largest_error = max(self._largest_error, most_finite)
            failures += failed_there
        self.reference_failed = failures / max(1, self.exact.numel())
        self.envelope: Envelope | None = None
        """What slices may be off by beside TF32; None where that is not asked, as `Tf32Yardstick` tells."""
        self._reference_is_rounded = bool(self._rounded_to(reference))

    @cached_property
    def rms(self) -> float:
        """Root mean square of the exact answer."""
        return math.sqrt(float(self._squares.sum()) / max(1, self.exact.numel()))

    @cached_property
    def reference_rms_error(self) -> float:
        """Root mean square of reference - exact, where the reference is finite."""
        return math.sqrt(float(self._error_squares.sum()) / max(1, self.exact.numel()))

    @property
    def shape(self) -> torch.Size:
        """The shape of an answer."""
        return self.exact.shape

    @property
    def right(self) -> Parted:
        """The exact answer in the answers' type: none can be nearer."""
        return Parted(lambda slab: self.right_at(slab.index))

    def right_at(self, index: Any) -> Tensor:
        """The part of `right`, or the element, at this index."""
        return self.arithmetic.narrowed(self._wide_at(index))

    @property
    def spacing(self) -> float:
        """The spacing of the floating-point numbers at 1 in the answer's type; 0 for integers, which are exact.

        At least that of the exact answer's own error, which answers in float64 are as near as.
        """
        return max(torch.finfo(self.dtype).eps, _EXACT_SPACING) if self.arithmetic.inexact else 0.0

    @property
    def rounding(self) -> float:
        """Root mean square error of `right`."""
        right = self.right
        squares = sum(float(self._errors(right, slab).square().sum()) for slab in self._slabs())
        return math.sqrt(squares / max(1, self.exact.numel()))

    @property
    def baseline(self) -> float:
        """The reference's rms error, or what rounding the exact answer to its type leaves, if that is more."""
        return max(self.reference_rms_error, self.spacing / 4 * self.rms)

    def limits(self, gate: ErrorGate | None) -> Limits:
        """The limits that `gate` sets; without a gate, the tolerance is set by the reference's error as well."""
        factor = default_factor(wide=not self.arithmetic.inexact or self.arithmetic.real_bytes > 2)
        if gate is not None:
            return Limits(gate.atol, gate.rtol, factor if gate.factor is None else gate.factor, gate.factor is not None)
        return Limits(factor * max(self._largest_error, self.spacing * self._largest), 0.0, factor)

    def accepts(self, answer: Answer, limits: Limits) -> bool:
        """Whether `compare` finds no fault, at a fraction of its cost where the tolerance is missed."""
        return not any(bool((self.excess(answer, limits, slab)[1] > 0).any()) for slab in self._slabs()) and not (
            self.compare(answer, limits).failed
        )

    def compare(self, answer: Answer, limits: Limits) -> Comparison:
        """Compare an answer element by element, as a whole (rms) and row by row; tells the first check that it fails.

        Of integers, only the tolerance of each element is checked.
        """
        error, furthest, largest, worst = 0.0, 0, -math.inf, 0
        wrong = broken = 0
        squares, found = self._no_squares(), []
        for slab in self._slabs():
            errors, excess = self.excess(answer, limits, slab)
            counts = torch.stack([(excess > 0).sum(), (~errors.isfinite()).sum()])
            found.append(torch.cat([*furthest_of(errors), *furthest_of(excess), counts.double()]))
            self._add_squares(squares, errors, slab)
        for slab, (off, where, beyond, at, wrong_there, broken_there) in zip(
            self._slabs(), as_numbers(found), strict=True
        ):
            if off > error:
                error, furthest = off, slab.start + int(where)
            if beyond > largest:
                largest, worst = beyond, slab.start + int(at)
            wrong += int(wrong_there)
            broken += int(broken_there)
        count = max(1, self.exact.numel())
        rms_error = math.sqrt(float(squares.sum()) / count)
        row, row_excess = largest_of((squares / self._row_allowance(limits.factor)).sqrt().nan_to_num(nan=0.0))
        relative = self.arithmetic.inexact and limits.factor < math.inf
        held = relative and not limits.coarse
        told = self.envelope.worst(self.slices(answer)) if held and self.envelope is not None else None
        failed: FailedCheck = ""
        reason = ""
        if largest > 0:
            failed = "tolerance"
        elif relative and rms_error > limits.factor * self.baseline:
            failed = "rms"
            of_reference = self.baseline == self.reference_rms_error
            reason = rms_reason(rms_error, self.baseline, limits, self.rms, of_reference=of_reference)
        elif relative and row_excess > 1:
            failed, reason = "rows", self._rows_reason(answer, row, squares, limits.factor)
        elif held and not self._reference_is_rounded and (low := self._rounded_to(answer)):
            failed, reason = "bits", bits_reason(low, self.dtype)
        elif told is not None and told.excess > 1:
            failed, reason = "slices", told.reason
        if failed not in ("", "tolerance"):
            worst = self._worst_of_row(answer, row) if failed == "rows" else furthest
        index = tuple(int(i) for i in np.unravel_index(worst, tuple(self.exact.shape)))
        place = Place(
            index=index,
            answer=self._number(answer, index, worst),
            exact=self.arithmetic.number(self._wide_at(index)),
            wrong_fraction=wrong / count,
            not_finite_fraction=broken / count,
        )
        reason = tolerance_reason(error, limits, place) if failed == "tolerance" else reason
        return Comparison(error, rms_error, largest, row_excess if relative else 0.0, failed, reason, place, told)

    def reference_rows(self, smallest: float) -> RowError:
        """The reference's worst row; rows below `smallest` of the output's rms count as of that size."""
        width = self.exact.numel() / max(1, self._squares.numel())
        own = self._squares.clamp(min=max(width * (smallest * self.rms) ** 2, 1e-300))
        row, share = largest_of(self._error_squares / own)
        return RowError(math.sqrt(share), math.sqrt(float(self._error_squares[row]) / width))

    def slices(self, answer: Answer) -> SliceErrors:
        """An answer's errors by axis."""
        errors = ((slab, self._errors(answer, slab)) for slab in self._slabs())
        return SliceErrors.of(errors, self.shape, self.device)

    def same(self, one: Answer, other: Answer) -> bool:
        """Whether two answers hold the same values."""
        return all(
            torch.equal(self.arithmetic.widened(part_of(one, slab)), self.arithmetic.widened(part_of(other, slab)))
            for slab in self._slabs()
        )

    def _number(self, answer: Answer, index: tuple[int, ...], place: int) -> float | int | complex:
        """The element of an answer at an index, `place` in C order."""
        if isinstance(answer, Tensor):
            return self.arithmetic.number(self.arithmetic.widened(answer[index]))
        slab = max((one for one in self._slabs() if one.start <= place), key=lambda one: one.start)
        return self.arithmetic.number(self.arithmetic.widened(answer.part(slab).reshape(-1)[place - slab.start]))

    def _slabs(self) -> Iterator[Slab]:
        return slabs(self.exact.shape, self.device) if self.exact.numel() else iter(())

    def _wide(self, slab: Slab) -> Tensor:
        return self._wide_at(slab.index)

    def _wide_at(self, index: Any) -> Tensor:
        """A part of the exact answer in the wide type, where the answers are."""
        exact = self.arithmetic.widened(self.exact[index].to(self.device))
        return self.arithmetic.overflowed(exact) if self._far_beyond else exact

    def _measured(self) -> list[float]:
        """The largest sizes in the slabs of the exact answer, whose squares are added up."""
        self._squares, largest = self._no_squares(), []
        for slab in self._slabs():
            sizes = self.arithmetic.sizes(self._wide(slab))
            largest.append(sizes.max())
            self._add_squares(self._squares, sizes, slab)
        return as_numbers(largest)

    def _no_squares(self) -> Tensor:
        """Zeros, one for each piece."""
        return torch.zeros(count_pieces(self.exact.shape), dtype=torch.float64, device=self.device)

    def _add_squares(self, squares: Tensor, values: Tensor, slab: Slab) -> None:
        """Add the squares of a slab's values to those of its pieces."""
        own = slab_pieces(values, self.exact.shape).square().sum(1)
        squares[slab.piece : slab.piece + len(own)] += own

    def excess(self, answer: Answer, limits: Limits, slab: Slab) -> tuple[Tensor, Tensor]:
        """A slab's errors, and what each is beyond what its element may be off by."""
        errors = self._errors(answer, slab)
        allowed = limits.atol + (limits.rtol * self.arithmetic.sizes(self._wide(slab)) if limits.rtol else 0.0)
        return errors, torch.where(errors == math.inf, math.inf, errors - allowed)

    def _errors(self, answer: Answer, slab: Slab) -> Tensor:
        """|answer - exact|; infinite where the answer is not finite, unless that is what the exact one rounds to."""
        exact = self._wide(slab)
        values = self.arithmetic.widened(part_of(answer, slab))
        errors = self.arithmetic.distances(values, exact)
        if slab.start in self._overflowing:
            right = self.arithmetic.widened(self.arithmetic.narrowed(exact))
            errors.masked_fill_(values.isinf() & (values == right), 0.0)
        return errors.nan_to_num_(nan=math.inf, posinf=math.inf)

    def _row_allowance(self, factor: float) -> Tensor:
        """The squared error that each row may have, summed over its elements."""
        typical = max(self.baseline / self.rms if self.rms else 0.0, self.spacing / 4)
        width = self.exact.numel() / max(1, self._squares.numel())
        floor = self.spacing * _SMALL_ROW * self.rms
        if self.arithmetic.real_bytes > 2:  # what is left of a long sum that cancels is off by as much as other rows
            floor = max(floor, self.reference_rms_error)
        smallest = torch.finfo(self.dtype).smallest_normal * self.spacing if self.spacing else 0.0
        own = torch.maximum(self._error_squares, typical**2 * self._squares)
        allowance: Tensor = (ROW_FACTOR * factor) ** 2 * own.clamp(min=width * max(floor, smallest) ** 2)
        return allowance

    def _rows_reason(self, answer: Answer, row: int, squares: Tensor, factor: float) -> str:
        index = np.unravel_index(self._worst_of_row(answer, row), tuple(self.exact.shape))
        allowed = float(self._row_allowance(factor)[row])
        return rows_reason([int(i) for i in index], float(squares[row]), allowed, float(self._squares[row]))

    def _worst_of_row(self, answer: Answer, row: int) -> int:
        """The flat index of the largest error in a piece."""
        errors = ((slab, self._errors(answer, slab)) for slab in self._slabs())
        return largest_in_piece(errors, self.exact.shape, row)

    def _rounded_to(self, answer: Answer) -> str:
        """To which coarser type an answer was rounded, told by its bits; empty where it was not."""
        if not self.arithmetic.inexact or self.arithmetic.real_bytes < 4:
            return ""
        return rounded_to((part_of(answer, slab), self.right_at(slab.index)) for slab in self._slabs())
