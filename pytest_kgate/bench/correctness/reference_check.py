"""Whether the reference is right: its error sets what a candidate may be off by, so it is checked first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

import torch

from pytest_kgate.bench.correctness.comparison.slabs import slabs
from pytest_kgate.errors import ProblemError
from pytest_kgate.problems.rounding.dtypes import dtype_name
from pytest_kgate.problems.rounding.precision import FACTOR
from pytest_kgate.problems.rounding.precision import tf32_switches
from pytest_kgate.problems.trees import tree
from pytest_kgate.report.format import percent

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping

    from pytest_kgate.bench.correctness.comparison.outputs import ExactOutputs
    from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
    from pytest_kgate.bench.correctness.exact.conditioning import Moved
    from pytest_kgate.statistics.gates import ErrorGate

_ALLOWED = {8: 1e-4, 4: 2e-2, 2: 1e-1, 1: 3e-1}
"""Rms error over the output's rms, by the bytes of an element: what arithmetic of the kind that references use comes
to, with room. In four bytes that is bfloat16 inside (PyTorch's softmax of 1,000: 3e-3), not float32 alone."""

_ALLOWED_ROW = 0.5
"""The same for a single row of 64 elements or so, to its own size: a missing row is off by 1."""

_SMALL_ROW = 1 / 16
"""Of the output's rms: a smaller row is held to what this one may be off by."""

_CANCELLED = 64.0
"""Spacings of the output's type at the inputs' rms: what large numbers leave where they cancel is so coarse."""

_FAILED = 0.1
"""Share of its elements that a reference may leave NaN or Inf where the answer is finite, such as rows without keys."""

_TODO = (
    "Mend the reference or `exact`. Where both are right and the reference is coarse on purpose, say how coarse: "
    "allclose(atol). Where several answers are right, as with the signs of eigenvectors, say which: Problem(equal=...)."
)


@dataclass(frozen=True)
class IllConditioned:
    """An output that rounding moves so far that the reference may be off by more than its type alone explains."""

    share: float
    """Of its rms, by which rounding moves it."""
    reason: str
    """One sentence with the numbers."""


def demand_right_reference(
    truth: ExactOutputs,
    gate: ErrorGate | None,
    inputs: tuple[Any, ...],
    varies: Callable[[], bool],
    moves: Callable[[], Mapping[str, Moved]],
) -> list[IllConditioned]:
    """Raise `ProblemError` where the reference is further off than the tolerance, its type and rounding explain.

    `varies` tells whether its answers to the same inputs are random; `moves` how far each output moves where the steps
    on the way to it are rounded, which is asked only of a reference that is refused without. Returns the outputs where
    that is what explains the reference's error.
    """
    if truth.equal is not None:
        said = truth.equal(truth.reference)
        if said.reason:
            raise ProblemError(f"The reference is wrong: {said.reason}.", "Mend the reference, `exact` or `equal`.")
        return []
    if is_right_reference(truth, gate, inputs):
        return []
    if varies():
        raise ProblemError(
            "The reference gives the same inputs other answers at each call: they are random.",
            "Say what a right answer is: Problem(equal=...), which is asked in place of the comparison with `exact`; "
            "pytest_kgate.equal.dropout(p) is one for dropout.",
        )
    moved, found = moves(), []
    for name, one, own in truth.each(gate):
        if _fault(one, own, inputs) is None:
            continue
        fault, output = _fault(one, own, inputs, moved.get(name)), "" if name == "output" else f" in {name}"
        if fault and _is_decided_by_rounding(one, moved.get(name)):
            raise ProblemError(
                f"Rounding alone decides the answer{output}: the reference is off by {one.reference_error:.3g}, and so "
                f"is the exact answer where its steps are rounded to {moved[name].rounded_to}.",
                "Say which answers are right, Problem(equal=...), or draw inputs on which rounding does not decide.",
            )
        if fault:
            raise ProblemError(f"The reference is wrong{output}: {fault}.", " ".join([*_tf32(one), _TODO]))
        found.append(_ill_conditioned(one, output, moved[name]))
    return found


def is_right_reference(truth: ExactOutputs, gate: ErrorGate | None, inputs: tuple[Any, ...]) -> bool:
    """Whether `demand_right_reference` raises nothing."""
    return truth.equal is not None or all(_fault(one, own, inputs) is None for _, one, own in truth.each(gate))


def _fault(
    truth: ExactAnswer, gate: ErrorGate | None, inputs: tuple[Any, ...], moved: Moved | None = None
) -> str | None:
    """What is wrong with the reference, as one clause; None where it is right, or `moved` explains its error."""
    if truth.reference_failed > _FAILED:
        return f"{percent(truth.reference_failed)} of its output is NaN or Inf, where the exact answer is finite"
    if gate is not None and truth.compare(truth.reference, truth.limits(gate)).excess <= 0:
        return None
    arithmetic = truth.arithmetic
    if not arithmetic.inexact:
        if truth.reference_error == 0:
            return None
        return f"it is off by {truth.reference_error:.3g}, and its type {dtype_name(truth.dtype)} is exact"
    allowed = _ALLOWED[arithmetic.real_bytes]
    rows = truth.reference_rows(_SMALL_ROW)
    far = truth.reference_rms_error > allowed * truth.rms
    allowed_row = max(_ALLOWED_ROW, allowed)
    far_in_a_row = rows.size > allowed_row
    if moved is not None:
        far = far and truth.reference_rms_error > FACTOR * moved.rms
        far_in_a_row = far_in_a_row and not moved.explains_rows(truth, allowed_row, _SMALL_ROW)
    if not (far or far_in_a_row):
        return None
    floor = _CANCELLED * truth.spacing * _rms(inputs)
    if far and truth.reference_rms_error > floor:
        return (
            f"its rms error is {truth.reference_rms_error:.2g}, where the exact answer's rms is {truth.rms:.2g}; "
            f"{dtype_name(truth.dtype)} explains {percent(allowed)} of it"
        )
    if far_in_a_row and rows.error > floor:
        return f"one of its rows is off by {rows.size:.2g} of its own size"
    return None


def _is_decided_by_rounding(truth: ExactAnswer, moved: Moved | None) -> bool:
    """Whether integers, such as the place of the largest of nearly equal values, change as much by rounding alone."""
    if moved is None or truth.arithmetic.inexact:
        return False
    return truth.reference_rms_error <= FACTOR * moved.rms


def _ill_conditioned(truth: ExactAnswer, output: str, moved: Moved) -> IllConditioned:
    share = moved.rms / truth.rms if truth.rms else math.inf
    return IllConditioned(
        share,
        f"the problem is ill-conditioned{output}: rounding each step to {moved.rounded_to} moves the exact answer by "
        f"{moved.rms:.2g}, where its rms is {truth.rms:.2g}; the reference is off by {truth.reference_rms_error:.2g}, "
        "and others may be as far off",
    )


def _tf32(truth: ExactAnswer) -> list[str]:
    """What PyTorch computes in TF32, as a sentence: in a deep network its 10 bits may be all that is off."""
    found = tf32_switches(truth.device, truth.dtype)
    return [f"TF32 is on for {' and '.join(found)}: set {' and '.join(found.values())} to see."] if found else []


def _rms(inputs: tuple[Any, ...]) -> float:
    """Of all inputs that are not integers and finite."""
    squares, count = 0.0, 0
    for tensor in tree.tensors(inputs):
        if (tensor.is_floating_point() or tensor.is_complex()) and tensor.numel():
            dense = tensor.detach() if tensor.layout is torch.strided else tensor.detach().to_dense()
            for slab in slabs(dense.shape, dense.device):
                part = dense[slab.index]
                sizes = part.abs() if tensor.itemsize > 1 else part.float().abs()
                squares += float(sizes.double().nan_to_num(0.0, 0.0, 0.0).square().sum())
            count += tensor.numel()
    return math.sqrt(squares / count) if count else 0.0
