"""Whether a check is weak: which wrong answers, made from the exact ones, it would let pass.

Every check is asked, since it costs only a few elementwise operations on an output, and a check that lets one of them
pass proves nothing. The record names those answers.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence

from torch import Tensor

from pytest_kgate.bench.correctness.mutants.transforms import CHANGES
from pytest_kgate.bench.correctness.mutants.transforms import coarse_outputs
from pytest_kgate.bench.correctness.mutants.transforms import constant
from pytest_kgate.bench.correctness.mutants.transforms import zeros
from pytest_kgate.bench.correctness.tolerance import ExactAnswer
from pytest_kgate.bench.correctness.tolerance import Limits
from pytest_kgate.statistics.gates import ErrorGate

IDLE = ("zeros", "one number everywhere", "a remembered answer")
"""Answers of a kernel that does no work. A check that lets one of them pass proves nothing."""


def surviving(truths: Sequence[ExactAnswer], gate: ErrorGate | None) -> Iterator[str]:
    """The names of the wrong answers that this gate would let pass on every one of these draws, in a fixed order."""
    draws = [(truth, truth.limits(gate)) for truth in truths]
    first = truths[0].right
    for name, answer in zip(IDLE, (zeros(first), constant(first), first), strict=True):
        # Also where this is the right answer: then the check can't tell work from none.
        if all(truth.accepts(answer, limits) for truth, limits in reversed(draws)):
            yield name
    for name, change in {**CHANGES, **coarse_outputs(first.dtype)}.items():
        if _lives(change, draws):
            yield name


def _lives(change: Callable[[Tensor], Tensor], draws: Sequence[tuple[ExactAnswer, Limits]]) -> bool:
    """Whether the check accepts the changed answer on every draw where the change makes a difference, if any."""
    changed = False
    for truth, limits in draws:
        wrong = change(truth.right)
        if truth.same(wrong, truth.right):
            continue
        changed = True
        if not truth.accepts(wrong, limits):
            return False
    return changed
