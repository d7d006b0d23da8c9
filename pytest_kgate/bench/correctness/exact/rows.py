"""Which inputs an exact answer can be cut along, so that a large one is made in pieces.

A row is what one index of an answer's first axis selects (the first of more than one index). The problem's author says
which inputs are cut with it (`Problem(rows=)`), or a trial on a few rows shows it: the answer to them together must be
the answers to two halves of them. What depends on other rows (a normalisation of the batch, a sum from row to row) or
on a row's number (a mask) comes out otherwise there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.problems.trees import tree

_FEWEST = 4
"""Rows of an answer that is cut: a trial on fewer would be most of it."""

_TRIAL_BYTES = 2**22
"""Of inputs and answer in float64, for one half of a trial; one row at least."""

_AGREES = 1e-9
"""Of the answer's largest element: what the order of sums in float64 changes is far below, what rows have to do with
each other is far above."""

_MOST_TRIALS = 8

Exact = Callable[[tuple[Any, ...]], Tensor]
"""From inputs to the exact answer."""


@dataclass(frozen=True)
class Rows:
    """Along one axis, rows of an answer depend on the same rows of some inputs only."""

    axis: int
    count: int
    cut: tuple[int, ...]
    """The numbers of those inputs among all tensors of the inputs; the others are used whole."""

    def of(self, inputs: tuple[Any, ...], start: int, stop: int) -> tuple[Any, ...]:
        """The inputs to the answer's rows from `start` to `stop`, as views."""
        numbers = itertools.count()

        def part(tensor: Tensor) -> Tensor:
            return tensor.narrow(self.axis, start, stop - start) if next(numbers) in self.cut else tensor

        found: tuple[Any, ...] = tree.mapped(inputs, part)
        return found


def float64_bytes(inputs: tuple[Any, ...], like: Tensor) -> int:
    """Bytes of the inputs and one answer where every element takes eight bytes."""
    return 8 * (like.numel() + sum(tensor.numel() for tensor in tree.tensors(inputs)))


def rows_of(exact: Exact, inputs: tuple[Any, ...], like: Tensor, said: Sequence[int] | None) -> Rows | None:
    """How an answer like `like` can be cut; None where it can't.

    `said`: the positions of the inputs that are cut, as the author says, none for never. None leaves it to a trial.
    """
    axis = next((axis for axis, extent in enumerate(like.shape) if extent > 1), None)
    if axis is None or like.shape[axis] < _FEWEST:
        return None
    count = like.shape[axis]
    if said is not None:
        own = [len(list(tree.tensors(one))) for one in inputs]
        cut = tuple(sum(own[:position]) + number for position in said for number in range(own[position]))
        return Rows(axis, count, cut) if cut else None
    fitting = tuple(
        number
        for number, tensor in enumerate(tree.tensors(inputs))
        if tensor.layout is torch.strided and tensor.dim() > axis and tensor.shape[axis] == count
    )
    half = max(1, min(count // 4, _TRIAL_BYTES * count // float64_bytes(inputs, like)))
    choices = (Rows(axis, count, cut) for cut in itertools.islice(_choices(fitting), _MOST_TRIALS))
    return next((rows for rows in choices if _independent(exact, inputs, like, rows, half)), None)


def _choices(fitting: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Those inputs that may be cut together, all of them first."""
    for size in range(len(fitting), 0, -1):
        yield from itertools.combinations(fitting, size)


def _independent(exact: Exact, inputs: tuple[Any, ...], like: Tensor, rows: Rows, half: int) -> bool:
    spans = ((0, 2 * half), (0, half), (half, 2 * half))
    try:
        both, first, second = (exact(rows.of(inputs, start, stop)) for start, stop in spans)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # the others do not fit inputs that are cut so
        return False
    shape = (*like.shape[: rows.axis], 2 * half, *like.shape[rows.axis + 1 :])
    if not all(isinstance(one, Tensor) for one in (both, first, second)) or tuple(both.shape) != shape:
        return False
    if first.shape != second.shape or first.shape[rows.axis] != half:
        return False
    apart = torch.cat([first, second], rows.axis)
    if not (both.is_floating_point() or both.is_complex()):
        return torch.equal(both, apart)
    return torch.allclose(
        both, apart, rtol=0.0, atol=_AGREES * float(both.abs().nan_to_num(0.0, 0.0, 0.0).max()), equal_nan=True
    )
