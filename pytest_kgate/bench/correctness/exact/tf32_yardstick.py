"""How far off TF32 alone puts the slices of an answer: asked of the reference, where its own error comes from TF32."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any

import torch

from pytest_kgate.bench.correctness.comparison.slices import Envelope
from pytest_kgate.bench.correctness.comparison.slices import SliceErrors
from pytest_kgate.bench.correctness.comparison.slices import judged_axes
from pytest_kgate.device.answer import outputs_of
from pytest_kgate.errors import CandidateError
from pytest_kgate.problems.rounding.precision import tf32_switches
from pytest_kgate.problems.rounding.tf32 import Operands
from pytest_kgate.problems.rounding.tf32 import cut_off
from pytest_kgate.problems.rounding.tf32 import without_tf32

if TYPE_CHECKING:
    from pytest_kgate.bench.correctness.comparison.outputs import ExactOutputs
    from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer

_NEARER = 8.0
"""The reference's error comes from TF32 if it is so many times nearer without. KernelBench's nets came to 100 to 1,500;
UNetSoftmax, whose batch norms blow up all rounding, to 4 (benchmarks/h200/error-ratios-2026-11-28.jsonl)."""


class Tf32Yardstick:
    """Gives the exact answers to the draws of one check an envelope for slices, where TF32 explains the reference.

    It costs two more calls of the reference a draw. Where the first draw shows that nothing is in TF32, or that the
    envelope can't be told, the others are not asked: by the same shapes they are computed alike.
    """

    def __init__(self) -> None:
        self._left_out = False

    def hold(self, truth: ExactOutputs, call: Callable[[], Any], forget: Callable[[], None] = lambda: None) -> None:
        """Give each output of a draw its envelope. `call` is one of the reference, on inputs that it may change.

        `forget` frees the reference's answer, so that two of them are never in memory.
        """
        outputs = {} if truth.equal is not None else {name: one for name, one, _ in truth.each(None) if _is_asked(one)}
        if self._left_out or not outputs:
            return
        self._left_out = True
        own = {name: one.slices(one.reference) for name, one in outputs.items()}
        forget()
        with contextlib.suppress(torch.OutOfMemoryError), _unless_it_raises(), without_tf32(), _uncompiled():
            full = _sums(outputs, call())
            outputs = {name: one for name, one in outputs.items() if _is_of_tf32(one, own[name], full[name])}
            if not outputs:
                return
            with Operands(cut_off) as operands:
                answer = call()
            if operands.unfit or not operands.products:
                return
            for name, cut in _sums(outputs, answer).items():
                outputs[name].envelope = Envelope.of([own[name], cut])
            self._left_out = False


def _is_asked(one: ExactAnswer) -> bool:
    return bool(tf32_switches(one.device, one.dtype) and judged_axes(one.shape))


def _sums(outputs: dict[str, ExactAnswer], answer: Any) -> dict[str, SliceErrors]:
    tensors = outputs_of(answer)
    return {name: one.slices(tensors[name]) for name, one in outputs.items()}


def _is_of_tf32(one: ExactAnswer, own: SliceErrors, full: SliceErrors) -> bool:
    """Whether the reference's error is TF32's: it goes where that is off, but for what rounding its output leaves."""
    rest = max(math.sqrt(full.total / one.exact.numel()), one.spacing / 4 * one.rms)
    return math.sqrt(own.total / one.exact.numel()) >= _NEARER * rest


@contextlib.contextmanager
def _unless_it_raises() -> Iterator[None]:
    """A block that ends where the reference raises, as one may that is told to compute otherwise."""
    try:
        yield
    except CandidateError as error:
        if error.__cause__ is None:  # it is not of the reference: the time is over
            raise


@contextlib.contextmanager
def _uncompiled() -> Iterator[None]:
    """A block in which torch.compile is off: it would compile anew for other settings. PyTorch 2.5 can't say so."""
    stance = getattr(torch.compiler, "set_stance", None)
    with contextlib.nullcontext() if stance is None else stance("force_eager"):
        yield
