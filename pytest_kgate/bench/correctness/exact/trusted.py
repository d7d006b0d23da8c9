"""Whether an exact answer deserves the name: it repeats, and is finer than what it is to judge.

The reference's distance from it is what a candidate may be off by. An exact answer in a coarse type, or one that draws
random numbers, makes that distance its own, and lets wrong candidates pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.bench.correctness.comparison.outputs import tensors_by_name
from pytest_kgate.bench.correctness.exact.answer import exact_answer
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import ProblemError
from pytest_kgate.problems.published.exact import in_float64
from pytest_kgate.problems.rounding.dtypes import dtype_name
from pytest_kgate.problems.trees import tree

if TYPE_CHECKING:
    from pytest_kgate.bench.correctness.comparison.outputs import ExactOutputs
    from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
    from pytest_kgate.problems.problem import Problem

_ASKED_ELEMENTS = 2**20
"""Of inputs and outputs together: up to this size one more exact answer costs little beside a check's five."""

_REPEATS = 1e-10
_REPEATS_STEPS = 64
"""Of the answer's largest element, or so many steps of its type: sums that a GPU adds up by atomics come in any order
and differ by less. What differs by more is drawn at random, or is a state."""


def demand_repeatable_exact(
    problem: Problem, inputs: tuple[Any, ...], like: Any, truth: ExactOutputs, varies: Callable[[], bool]
) -> None:
    """Raise `ProblemError` where one draw's exact answer is another one at the second call; small ones are asked.

    `varies` tells whether the reference's answers are random too: then that is what is wrong, and is told elsewhere.
    """
    if not _is_small(inputs, like) or truth.in_pieces:
        return
    again = tensors_by_name(exact_answer(problem, inputs, like), like)
    outputs = [(name, one.exact) for name, one, _ in truth.each(None)]
    if again is not None and all(_repeats(exact, again[name]) for name, exact in outputs):
        return
    if problem.equal is None and varies():
        return
    raise ProblemError(
        "The problem's exact does not repeat: it answered the same inputs otherwise the second time.",
        "Let it compute from its arguments alone, without random numbers and state.",
    )


def _repeats(exact: Tensor, again: Tensor) -> bool:
    if exact.shape != again.shape or exact.dtype != again.dtype:
        return False
    inexact = exact.is_floating_point() or exact.is_complex()
    if not inexact or exact.itemsize == 1:
        return torch.equal(exact, again) or (inexact and torch.equal(exact.float(), again.float()))
    size = float(exact.abs().nan_to_num(0.0, 0.0, 0.0).max())
    near = max(_REPEATS, _REPEATS_STEPS * _step(exact.dtype)) * size
    return torch.allclose(exact, again.to(exact.device), rtol=0.0, atol=near, equal_nan=True)


def demand_fine(name: str, truth: ExactAnswer) -> None:
    """Raise `ProblemError` where an exact answer's type is coarser than its output's, and it has rounded something.

    A mask of bools or a count may come in any type that holds it: the reference then agrees in every element.
    """
    exact = truth.exact.dtype
    if not truth.arithmetic.inexact or _step(exact) <= _step(truth.dtype) or truth.reference_error == 0:
        return
    own = "" if name == "output" else f" as {name}"
    raise ProblemError(
        f"The problem's exact returns {dtype_name(exact)}{own} for an output of {dtype_name(truth.dtype)}: it is no "
        "finer than what it judges, and would allow a candidate what it rounds off itself.",
        "Compute it in float64, and return that: x.double().",
    )


def coarse_exact(problem: Problem, inputs: tuple[Any, ...], like: Any, truth: ExactOutputs) -> str:
    """What a record warns of where an exact answer comes in the output's own type and float64 makes it another one.

    Empty where it does not: what only picks or copies values is exact in any type, and what can't be computed in
    float64 has no finer answer. It is no error, since such an answer is right but for a few roundings.
    """
    own = {
        name: one
        for name, one, _ in truth.each(None)
        if one.arithmetic.inexact and one.exact.dtype is one.dtype and _step(one.dtype) > _step(torch.float64)
    }
    # A published problem's exact answer chooses its type itself, and the record says which.
    if not own or problem.published is not None or problem.equal is not None or not _is_small(inputs, like):
        return ""
    try:
        wide = tensors_by_name(exact_answer(problem, in_float64(inputs), like), like)
    except CandidateError as error:
        if error.__cause__ is None:  # it is not of `exact`: the time is over
            raise
        return ""
    except (KgateError, torch.OutOfMemoryError):
        return ""
    for name, one in own.items():
        found = None if wide is None else wide[name]
        if found is None or found.shape != one.shape or _step(found.dtype) >= _step(one.dtype):
            continue
        apart = _apart(found, one.exact)
        if apart > _step(one.dtype):
            return (
                f"exact returns {dtype_name(one.dtype)}{'' if name == 'output' else f' as {name}'} for an output of "
                f"that type, and is off by {apart:.2g} of its rms from what it returns for inputs in float64: it is no "
                "finer than what it judges. Compute it in float64: x.double()"
            )
    return ""


def _apart(wide: Tensor, exact: Tensor) -> float:
    """Root mean square of the difference over that of the first, where both are finite."""
    narrow = exact.to(wide.dtype)
    kept = wide.isfinite() & narrow.isfinite()
    error = float(torch.where(kept, wide - narrow, 0.0).abs().square().sum())
    size = float(torch.where(kept, wide, 0.0).abs().square().sum())
    return math.sqrt(error / size) if size else 0.0


def _is_small(inputs: tuple[Any, ...], like: Any) -> bool:
    return sum(one.numel() for one in (*tree.tensors(inputs), *tree.tensors(like))) <= _ASKED_ELEMENTS


def _step(dtype: torch.dtype) -> float:
    """From 1 to the next number of this type; infinite for one that has no fractions."""
    return torch.finfo(dtype).eps if dtype.is_floating_point or dtype.is_complex else math.inf
