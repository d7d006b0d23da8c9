"""Wrong answers made from right ones. Every check is asked whether it would let them pass: it costs a few elementwise
operations on an output, and a check that does is no proof of anything.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from pytest_kgate.bench.correctness.tolerance import ExactAnswer
from pytest_kgate.bench.correctness.tolerance import Limits
from pytest_kgate.problems.rounding import COARSER
from pytest_kgate.problems.rounding import name_of
from pytest_kgate.problems.rounding import rounded
from pytest_kgate.statistics.gates import ErrorGate

SCALE = 1.02

_TILE = 64


def zeros(answer: Tensor) -> Tensor:
    """What a kernel that does nothing leaves in cleared memory."""
    return torch.zeros_like(answer)


def constant(answer: Tensor) -> Tensor:
    """The mean, everywhere: the least error that can be had without any work."""
    mean = answer.double().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).mean()
    return torch.zeros_like(answer) + (mean if answer.is_floating_point() else mean.round()).to(answer.dtype)


def last_row_missing(answer: Tensor) -> Tensor:
    """Zeros in the last row of all, where a grid was one block too small."""
    return _without_last_rows(answer, 1)


def last_tile_missing(answer: Tensor) -> Tensor:
    """Zeros in the last rows of all."""
    return _without_last_rows(answer, max(1, min(_TILE, _rows(answer).shape[0] // 2)))


def row_late(answer: Tensor) -> Tensor:
    """Every row in the next one's place."""
    return _rows(answer).roll(1, 0).reshape(answer.shape)


def scaled(answer: Tensor) -> Tensor:
    """2 % too large."""
    return (answer.double() * SCALE).to(answer.dtype) if answer.is_floating_point() else answer


def _without_last_rows(answer: Tensor, count: int) -> Tensor:
    rows = _rows(answer).clone()
    rows[rows.shape[0] - count :] = 0
    return rows.reshape(answer.shape)


def _rows(answer: Tensor) -> Tensor:
    """(rows, width); the elements of a vector are rows."""
    return answer.reshape(-1, answer.shape[-1] if answer.dim() > 1 else 1)


CHANGES: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "the last row missing": last_row_missing,
        "the last rows missing": last_tile_missing,
        "every row one late": row_late,
        f"{SCALE - 1:.0%} too large": scaled,
    }
)
"""What turns a right answer into a wrong one; where it changes nothing, the answer is still right."""


def coarse_outputs(dtype: torch.dtype) -> dict[str, Callable[[Tensor], Tensor]]:
    """Outputs in a coarser type than they claim to have."""
    return {f"output in {name_of(low)}": _rounder(low) for low in COARSER.get(dtype, ())[:1]}


def _rounder(low: torch.dtype) -> Callable[[Tensor], Tensor]:
    return lambda answer: rounded(answer, low)


def surviving(truths: Sequence[ExactAnswer], gate: ErrorGate | None) -> Iterator[str]:
    """The wrong answers that pass the check on all of these draws; most are found on the first."""
    draws = [(truth, truth.limits(gate)) for truth in truths]
    first = _right(truths[0])
    idle = {"zeros": zeros(first), "one number everywhere": constant(first), "a remembered answer": first}
    for name, answer in idle.items():
        # Also where this is the right answer: then the check can't tell work from none.
        if all(truth.accepts(answer, limits) for truth, limits in reversed(draws)):
            yield name
    for name, change in {**CHANGES, **coarse_outputs(first.dtype)}.items():
        if _lives(change, draws):
            yield name


def _lives(change: Callable[[Tensor], Tensor], draws: Sequence[tuple[ExactAnswer, Limits]]) -> bool:
    changed = False
    for truth, limits in draws:
        right = _right(truth)
        wrong = change(right)
        if torch.equal(wrong, right):
            continue
        changed = True
        if not truth.accepts(wrong, limits):
            return False
    return changed


def _right(truth: ExactAnswer) -> Tensor:
    return truth.exact.to(truth.dtype)
