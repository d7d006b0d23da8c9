"""Whether a check is weak: which wrong answers, made from the exact ones, it would let pass.

Every check is asked, since it costs only a few elementwise operations on an output, and a check that lets one of them
pass proves nothing. The record names those answers.
"""

from __future__ import annotations

from torch import Tensor

from pytest_kgate.bench.correctness.comparison.findings import Limits
from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
from pytest_kgate.bench.correctness.mutants.transforms import CHANGES
from pytest_kgate.bench.correctness.mutants.transforms import coarse_outputs
from pytest_kgate.bench.correctness.mutants.transforms import constant
from pytest_kgate.bench.correctness.mutants.transforms import zeros
from pytest_kgate.statistics.gates import ErrorGate

IDLE = ("zeros", "one number everywhere", "a remembered answer")
"""Answers of a kernel that does no work. A check that lets one of them pass proves nothing."""


class Survivors:
    """The wrong answers that a gate lets pass on every draw so far. Draws are shown one by one, and none is kept.

    Of the first draw, its right answer is kept until another draw has refused it as a remembered one.
    """

    def __init__(self, gate: ErrorGate | None) -> None:
        self._gate = gate
        self._idle: dict[str, Tensor] | None = None
        self._alive: dict[str, bool] = {}
        """By the name of a change that no draw has refused: whether it has changed an answer at all."""

    def add(self, truth: ExactAnswer) -> None:
        """Show the check's next draw, with its exact answer."""
        limits = truth.limits(self._gate)
        right = truth.right
        changes = {**CHANGES, **coarse_outputs(truth.dtype)}
        if self._idle is None:
            self._idle = dict(zip(IDLE, (zeros(right), constant(right), right), strict=True))
            self._alive = dict.fromkeys(changes, False)
        # Also where this is the right answer: then the check can't tell work from none.
        self._idle = {name: answer for name, answer in self._idle.items() if truth.accepts(answer, limits)}
        for name in tuple(self._alive):
            self._show(name, changes[name](right), truth, limits)

    def _show(self, name: str, wrong: Tensor, truth: ExactAnswer, limits: Limits) -> None:
        """Show one changed answer."""
        if truth.same(wrong, truth.right):
            return
        self._alive[name] = True
        if not truth.accepts(wrong, limits):
            del self._alive[name]

    @property
    def names(self) -> tuple[str, ...]:
        """What is wrong with each of them, in a fixed order."""
        return (*(self._idle or ()), *(name for name, changed in self._alive.items() if changed))
