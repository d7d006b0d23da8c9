"""The errors of an answer by axis: of all elements at one index of it, such as a channel, a column or an image.

Where a reference's error comes from TF32, what one wrong weight does to one column is lost in the error of all. Slices
are held to an envelope: what TF32 does to the same slice, in the reference and where it is at its coarsest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pytest_kgate.bench.correctness.comparison.slabs import Slab

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.correctness import SliceFacts

_FACTOR = 4.5
"""How many times the envelope's error a slice may have. Honest arithmetic came to 2.5 (a batch norm of the batch in the
weights before it), one wrong weight of MobileNetV1 to 5.8; benchmarks/h200/error-ratios-2026-11-28.jsonl."""

_CHANCE = 0.01
"""That one of an honest answer's slices is off by more than the factor where all elements of a slice are off alike, by
how one weight was rounded. Then a slice beside the mean of two runs' slices is Student's t with as many degrees of
freedom as these have slices: it asks for more than the factor of 2 slices or 3, or of more than a thousand."""

_MOST_ALIKE = 2.5
"""An answer whose slices are mostly further off than the envelope is held to so many times more. Winograd's F(4x4, 3x3)
in TF32 comes to 6 to 8 times the envelope all over, a DenseNet121 without its first activation to 16."""

_FEWEST = 8
"""Elements of a slice: of fewer, one is much further off than another by chance."""

_CARRIERS = 3.0
"""Elements, were they off alike, that a slice's error must come from at least: one of a large number in an answer is
off by what is large beside all others, and on the next run by next to nothing."""

_PART_OF_WORST = 1 / 4
"""Of the squares of the envelope's worst slice: no slice is held to less. What jumps puts some far off, now these, now
those."""


def judged_axes(shape: Sequence[int]) -> list[int]:
    """The axes of an answer of this shape that have slices to compare."""
    count = math.prod(shape)
    return [axis for axis, extent in enumerate(shape) if extent > 1 and count // extent >= _FEWEST]


@dataclass(frozen=True)
class SliceErrors:
    """Sums over the elements at each index, one tensor an axis of `judged_axes`."""

    axes: tuple[int, ...]
    squares: tuple[Tensor, ...]
    """Of errors."""
    fourths: tuple[Tensor, ...]
    """Of their fourth powers."""

    @classmethod
    def of(cls, parts: Iterable[tuple[Slab, Tensor]], shape: Sequence[int], device: torch.device) -> SliceErrors:
        """Add up the errors of an answer, from its slabs with their errors; what is not finite counts as right."""
        axes = judged_axes(shape)
        sums = [torch.zeros(2, shape[axis], dtype=torch.float64, device=device) for axis in axes]
        for slab, errors in parts:
            squares = errors.masked_fill(errors == math.inf, 0.0).square()
            for place, powers in enumerate((squares, squares.square())):
                for axis, found in zip(axes, sums, strict=True):
                    _add(found[place], powers, axis, slab)
        return cls(tuple(axes), tuple(one[0] for one in sums), tuple(one[1] for one in sums))

    @property
    def total(self) -> float:
        """The sum of squares of the whole answer."""
        return float(self.squares[0].sum()) if self.squares else 0.0


def _add(found: Tensor, powers: Tensor, axis: int, slab: Slab) -> None:
    """Add a slab's values to those of their indices."""
    lead = len(slab.index) - 1  # single indices, then a slice, then whole axes
    if axis < lead:
        found[slab.index[axis]] += powers.sum()
        return
    others = [one for one in range(powers.dim()) if one != axis - lead]
    own = powers.sum(others) if others else powers
    target = found[slab.index[-1]] if axis == lead else found
    target += own


@dataclass(frozen=True)
class WorstSlice:
    """The slice that is furthest beyond what is allowed, or nearest to that."""

    axis: int
    index: int
    times: float
    """Its rms error over the envelope's."""
    allowed: float
    """At most so many times."""

    @property
    def excess(self) -> float:
        """The error over what is allowed: above 1 is too far off."""
        return self.times / self.allowed

    def to_dict(self) -> SliceFacts:
        """For the record."""
        return {"axis": self.axis, "index": self.index, "times": self.times, "allowed": self.allowed}

    @property
    def reason(self) -> str:
        """What was found and what was allowed."""
        return (
            f"at index {self.index} of axis {self.axis} the rms error is {self.times:.2g} times what TF32 comes to "
            f"there at its coarsest, allowed is {self.allowed:.2g} times"
        )


@dataclass(frozen=True)
class Envelope:
    """The sum of squared errors that TF32 explains, for each index along each axis."""

    squares: tuple[Tensor, ...]

    @classmethod
    def of(cls, runs: Sequence[SliceErrors]) -> Envelope:
        """The largest of these; a slice that is right by chance counts as of their mean, and as half of the worst."""
        squares = []
        for of_runs in zip(*(run.squares for run in runs), strict=True):
            least = [torch.maximum(one.mean(), _PART_OF_WORST * one.max()) for one in of_runs]
            raised = [torch.maximum(one, at_least) for one, at_least in zip(of_runs, least, strict=True)]
            squares.append(torch.stack(raised).amax(0).clamp(min=torch.finfo(torch.float64).tiny))
        return cls(tuple(squares))

    def worst(self, answer: SliceErrors) -> WorstSlice | None:
        """The slice of an answer that is furthest beyond the envelope; None where it has no slices to compare."""
        found = []
        for axis, own, fourths, most in zip(answer.axes, answer.squares, answer.fourths, self.squares, strict=True):
            times = (own / most).sqrt()
            told = torch.where(own.square() >= _CARRIERS * fourths, times, 0.0)
            largest, index, median = torch.stack([told.max(), told.argmax().double(), times.median()]).tolist()
            found.append(WorstSlice(axis, int(index), largest, allowed_times(len(own), median)))
        return max(found, key=lambda one: one.excess, default=None)


def allowed_times(slices: int, median: float = 1.0) -> float:
    """How many times the envelope's error one of so many slices may have, half of which have at least the median."""
    from scipy import special  # here: what is profiled is compared as well, in a process that does without SciPy

    of_chance = float(special.stdtrit(2 * slices, 1 - _CHANCE / 2 / slices))
    return max(_FACTOR, of_chance) * min(max(1.0, median), _MOST_ALIKE)
