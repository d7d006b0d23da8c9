"""Whether a check is weak: which wrong answers, made from the exact ones, it would let pass.

Every check is asked, since it costs only a few elementwise operations on an output, and a check that lets one of them
pass proves nothing. The record names those answers.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.bench.correctness.comparison.findings import IDLE
from pytest_kgate.bench.correctness.comparison.findings import Limits
from pytest_kgate.bench.correctness.comparison.outputs import ExactOutputs
from pytest_kgate.bench.correctness.comparison.slabs import Parted
from pytest_kgate.bench.correctness.comparison.slabs import slabs
from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
from pytest_kgate.bench.correctness.mutants.transforms import CHANGES
from pytest_kgate.bench.correctness.mutants.transforms import Change
from pytest_kgate.bench.correctness.mutants.transforms import changed
from pytest_kgate.bench.correctness.mutants.transforms import coarse_outputs
from pytest_kgate.bench.correctness.mutants.transforms import constant
from pytest_kgate.bench.correctness.mutants.transforms import zeros
from pytest_kgate.problems.trees import tree
from pytest_kgate.statistics.gates import ErrorGate

_KEPT_BYTES = 2**23
"""Of a right answer that is remembered. Some slabs show as well as all of them that it fits no more."""


class Survivors:
    """The wrong answers that a gate lets pass on every draw so far. Draws are shown one by one, and none is kept.

    Of the first draw, its right answer is remembered until another draw has refused it; of a large one, some slabs.
    """

    def __init__(self, gate: ErrorGate | None) -> None:
        self._gate = gate
        self._idle: dict[str, Tensor] = {}
        self._remembered: Remembered | None = None
        self._alive: dict[str, bool] | None = None
        """By the name of a change that no draw has refused: whether it has changed an answer at all."""

    def add(self, truth: ExactAnswer) -> None:
        """Show the check's next draw, with its exact answer."""
        limits = truth.limits(self._gate)
        changes = {**CHANGES, **coarse_outputs(truth.dtype)}
        if self._alive is None:
            like = torch.empty((), dtype=truth.dtype, device=truth.device).expand(truth.shape)
            self._idle = {"zeros": zeros(like), "one number everywhere": constant(truth.right_at, like)}
            self._remembered = Remembered(truth)
            self._alive = dict.fromkeys(changes, False)
        # Also where this is the right answer: then the check can't tell work from none.
        self._idle = {name: answer for name, answer in self._idle.items() if truth.accepts(answer, limits)}
        if self._remembered is not None:
            self._remembered = self._remembered.shown(truth, limits)
        for name in tuple(self._alive):
            self._show(name, _changed(truth, changes[name]), truth, limits)

    def _show(self, name: str, wrong: Parted, truth: ExactAnswer, limits: Limits) -> None:
        """Show one changed answer. Refused is only what has changed, and soon, so that is asked first."""
        assert self._alive is not None
        if not truth.accepts(wrong, limits):
            del self._alive[name]
        elif not truth.same(wrong, truth.right):
            self._alive[name] = True

    @property
    def names(self) -> tuple[str, ...]:
        """What is wrong with each of them, in a fixed order."""
        idle = (*self._idle, *([IDLE[2]] if self._remembered else []))
        return (*idle, *(name for name, changed in (self._alive or {}).items() if changed))


class Remembered:
    """The right answer to one draw, or some slabs of it, as the answer to others."""

    def __init__(self, truth: ExactAnswer, *, whole: bool = False) -> None:
        """Of a large answer only every so many slabs are kept, unless it is to be the `whole`."""
        size = truth.exact.numel() * truth.dtype.itemsize
        step = 1 if whole else max(1, size // _KEPT_BYTES)
        chosen = itertools.islice(slabs(truth.shape, truth.device), 0, None, step) if size else ()
        self._parts = {slab.start: truth.right_at(slab.index).clone() for slab in chosen}
        self._whole = step == 1
        self._first = True

    def shown(self, truth: ExactAnswer, limits: Limits) -> Remembered | None:
        """What is remembered after a draw that may refuse it; None where it has.

        Of slabs that are not kept the right answer is shown, so that some that are refuse the whole. Where those are
        right on another draw, too, all of that one is remembered from now on.
        """
        answer = Parted(lambda slab: self._parts[slab.start] if slab.start in self._parts else truth.right.part(slab))
        first, self._first = self._first, False
        if not truth.accepts(answer, limits):
            return None
        return self if self._whole or first else Remembered(truth, whole=True)


def _changed(truth: ExactAnswer, change: Change) -> Parted:
    return Parted(lambda slab: change(truth.right_at, truth.shape, slab))


class Asked:
    """The wrong answers that a problem's own `equal` takes for right on every draw, made from the reference's."""

    def __init__(self) -> None:
        self._remembered: Any = None
        self._constant: Any = None
        """Of the first draw: of another draw's only element it would be the right answer itself."""
        self._alive: dict[str, bool] = {}
        """By name, whether it has differed from the right answer on any draw, or is an idle one's."""

    def add(self, truth: ExactOutputs) -> None:
        """Show the check's next draw."""
        assert truth.equal is not None
        right = truth.reference
        wrong: dict[str, Callable[[], Any]] = {
            IDLE[0]: lambda: tree.mapped(right, zeros),
            IDLE[1]: lambda: tree.clone(self._constant),
            IDLE[2]: lambda: self._remembered,
            **{name: functools.partial(_all_changed, right, change) for name, change in CHANGES.items()},
        }
        first = self._remembered is None
        if first:
            self._remembered = tree.clone(right)
            self._constant = tree.mapped(right, lambda one: constant(one.__getitem__, one))
            self._alive = dict.fromkeys(wrong, False) | dict.fromkeys(IDLE, True)
        for name in tuple(self._alive):
            answer = wrong[name]()
            if name not in IDLE and truth.same(answer, right):
                continue
            self._alive[name] = True
            if not (first and name == IDLE[2]) and truth.equal(answer).reason:
                del self._alive[name]

    @property
    def names(self) -> tuple[str, ...]:
        """What is wrong with each of them."""
        return tuple(name for name, changed in self._alive.items() if changed)


def _all_changed(right: Any, change: Change) -> Any:
    return tree.mapped(right, lambda one: changed(one, change))


class OutputSurvivors:
    """As `Survivors`, of an answer with several outputs, each of which may be wrong while the others are right."""

    def __init__(self, gate: ErrorGate | None) -> None:
        self._gate = gate
        self._of: dict[str, Survivors] = {}
        self._asked: Asked | None = None

    def add(self, truth: ExactOutputs) -> None:
        """Show the check's next draw, with its exact answer."""
        if truth.equal is not None:
            self._asked = self._asked or Asked()
            self._asked.add(truth)
            return
        for name, one, own in truth.each(self._gate):
            self._of.setdefault(name, Survivors(own)).add(one)

    @property
    def names(self) -> tuple[str, ...]:
        """What is wrong with each, and in which output; without its name, what all outputs would let pass alike."""
        if self._asked is not None:
            return self._asked.names
        found = {output: its.names for output, its in self._of.items()}
        common = [name for name in next(iter(found.values()), ()) if all(name in names for names in found.values())]
        own = [f"{name} ({output})" for output, names in found.items() for name in names if name not in common]
        return (*common, *own)
