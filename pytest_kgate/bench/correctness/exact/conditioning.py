"""How far the exact answer moves when each step on the way to it is rounded: what arithmetic alone may do to an answer.

An ill-conditioned function (batch norm of what is nearly constant, or of a softmax) makes a large error of any
rounding, so that its reference is far off and right. The exact answer is computed a few more times in float64, with
errors of the problem's own type that are drawn at random; see `RandomRounding`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.bench.correctness.comparison.outputs import tensors_by_name
from pytest_kgate.bench.correctness.comparison.slabs import count_pieces
from pytest_kgate.bench.correctness.comparison.slabs import slab_pieces
from pytest_kgate.bench.correctness.comparison.slabs import slabs
from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
from pytest_kgate.bench.correctness.exact.answer import exact_answer
from pytest_kgate.device.answer import outputs_of
from pytest_kgate.errors import CandidateError
from pytest_kgate.problems.rounding.precision import FACTOR
from pytest_kgate.problems.rounding.precision import RUNS
from pytest_kgate.problems.rounding.precision import Precision
from pytest_kgate.problems.trees import tree

if TYPE_CHECKING:
    from pytest_kgate.bench.correctness.comparison.outputs import ExactOutputs
    from pytest_kgate.problems.problem import Problem


@dataclass(frozen=True)
class Moved:
    """How far one output of the exact answer moves."""

    rms: float
    """Root mean square, of the run that moves it most."""
    squares: Tensor
    """By row the sum of squares, of the run that moves that row most."""
    rounded_to: str
    """`float32`, or `float32 (products to TF32)`."""

    def explains_rows(self, truth: ExactAnswer, share: float, smallest: float) -> bool:
        """Whether rows of the reference that are off by more than this share of their size are off by rounding.

        Rows below `smallest` of the output's rms count as of that size.
        """
        width = truth.exact.numel() / max(1, len(self.squares))
        own = row_squares(truth, None).clamp(min=width * (smallest * truth.rms) ** 2)
        errors = row_squares(truth, truth.reference)
        allowed = FACTOR**2 * self.squares.clamp(min=width * self.rms**2)
        return not bool(((errors > share**2 * own) & (errors > allowed)).any())


def moved(problem: Problem, inputs: tuple[Any, ...], like: Any, truth: ExactOutputs) -> dict[str, Moved]:
    """How far each output of the exact answer moves where all is rounded to the problem's coarsest type.

    Empty where that can't be told, since `exact` fails so, or there is no room.
    """
    outputs = {name: one for name, one, _ in truth.each(None)}
    precision = Precision.of((*tree.tensors(inputs), *outputs_of(like).values()))
    found: dict[str, Moved] = {}
    for run in range(RUNS):
        try:
            with precision.rounding(run):
                answer = tensors_by_name(exact_answer(problem, inputs, like), like)
        except torch.OutOfMemoryError:
            return {}
        except CandidateError as error:
            if error.__cause__ is None:  # it is not of `exact`: the time is over
                raise
            return {}
        if answer is None:
            return {}
        for output, one in outputs.items():
            squares = row_squares(one, answer[output])
            rms = math.sqrt(float(squares.sum()) / max(1, one.exact.numel()))
            most = found.get(output, Moved(0.0, torch.zeros_like(squares), precision.name))
            found[output] = Moved(max(rms, most.rms), torch.maximum(squares, most.squares), precision.name)
        del answer  # one more than the exact one is in memory
    return found


def row_squares(truth: ExactAnswer, answer: Tensor | None) -> Tensor:
    """Sums of squared distances of an answer from the exact one, one a row, where finite; of None, from zero."""
    found = torch.zeros(count_pieces(truth.shape), dtype=torch.float64, device=truth.device)
    arithmetic = truth.arithmetic
    for slab in slabs(truth.shape, truth.device):
        exact = arithmetic.widened(truth.exact[slab.index].to(truth.device))
        if answer is None:
            sizes = arithmetic.sizes(exact)
        else:
            sizes = arithmetic.distances(arithmetic.widened(answer[slab.index].to(truth.device)), exact)
        own = slab_pieces(sizes.nan_to_num_(0.0, 0.0, 0.0), truth.shape).square().sum(1)
        found[slab.piece : slab.piece + len(own)] += own
    return found
