"""A map of a wrong answer: along which axes all wrong elements lie in one part, such as the last block or a head;
whether its own values can be places; and how much of it another call answers otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_kgate.bench.correctness.comparison.findings import Limits
from pytest_kgate.bench.correctness.comparison.slabs import slabs
from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
from pytest_kgate.device.answer import outputs_of
from pytest_kgate.errors import KgateError
from pytest_kgate.problems.trees import tree

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NAMED = 4
"""How many single places along an axis are listed."""


def where_wrong(truth: ExactAnswer, answer: Tensor, limits: Limits) -> str:
    """Where the elements beyond the tolerance lie, as a clause; empty where they lie everywhere, or there are none."""
    along = _wrong_along(truth, answer, limits)
    found = [
        f"{_places(np.flatnonzero(wrong), len(wrong))} of axis {axis}"
        for axis, wrong in enumerate(along)
        if wrong.any() and not wrong.all()
    ]
    return " and ".join(found)


def _wrong_along(truth: ExactAnswer, answer: Tensor, limits: Limits) -> list[NDArray[np.bool_]]:
    """For each axis, at which of its indices anything is wrong."""
    along = [np.zeros(extent, dtype=bool) for extent in truth.shape]
    for slab in slabs(truth.shape, truth.device) if answer.numel() else ():
        wrong = truth.excess(answer, limits, slab)[1] > 0
        if not slab.index or not bool(wrong.any()):
            continue
        lead = len(slab.index) - 1  # single indices, then a slice, then whole axes
        for axis, index in enumerate(slab.index[:lead]):
            along[axis][index] = True
        for axis in range(wrong.dim()):
            others = [other for other in range(wrong.dim()) if other != axis]
            any_wrong = (wrong.any(dim=others) if others else wrong).cpu().numpy()
            target = along[lead + axis]
            if axis == 0:
                target = target[slab.index[-1]]
            target |= any_wrong
    return along


def _places(indices: NDArray[np.intp], extent: int) -> str:
    """Indices of an axis in words: one, a range, every so many, a few, or how many."""
    first, last, count = int(indices[0]), int(indices[-1]), len(indices)
    if count == 1:
        return f"{first}{' (the last)' if first == extent - 1 else ''} of {extent}"
    if last - first + 1 == count:
        end = f" (the last {count})" if last == extent - 1 else ""
        return f"{first} to {last}{end} of {extent}"
    steps = np.diff(indices)
    if steps[0] == steps.min() == steps.max():
        return f"every {int(steps[0])}th from {first} to {last} of {extent}"
    if count <= _NAMED:
        return f"{', '.join(map(str, indices.tolist()))} of {extent}"
    return f"{count} of {extent}, from {first} to {last}"


def may_be_indices(truth: ExactAnswer, inputs: Any) -> bool:
    """Whether an output can be places in an input: int32 or int64, all from 0 and below the longest axis of one.

    Only of such an output several answers may be right because values are equal, as with an argmax.
    """
    longest = max((extent for one in tree.tensors(inputs) for extent in one.shape), default=0)
    if truth.dtype not in (torch.int32, torch.int64):
        return False
    return bool(truth.exact.min() >= 0) and bool(truth.exact.max() < longest)


def varying_fraction(output: str, answer: Any, again: Callable[[], Any], atol: float) -> float:
    """The fraction of elements of this output that lie further than `atol` from what `again()` returns.

    0 where that gives no answer, or one of another shape.
    """
    try:
        first, second = outputs_of(answer)[output], outputs_of(again()).get(output)
    except (KgateError, torch.OutOfMemoryError):
        return 0.0
    if not isinstance(second, Tensor) or first.shape != second.shape or not first.numel():
        return 0.0
    apart = sum(
        int((~_near(first[slab.index], second[slab.index], atol)).sum()) for slab in slabs(first.shape, first.device)
    )
    return float(apart / first.numel())


def _near(first: Tensor, second: Tensor, atol: float) -> Tensor:
    if first.dtype is torch.bool:
        return first == second
    if first.is_floating_point() or first.is_complex():
        wide = torch.complex64 if first.is_complex() else torch.float32
        first, second = first.to(wide), second.to(wide)
    return torch.isclose(first, second, rtol=0.0, atol=atol, equal_nan=True)
