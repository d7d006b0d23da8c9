"""Whether a candidate that is wrong answers the same inputs otherwise when it is called again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.bench.correctness.comparison.slabs import slabs
from pytest_kgate.device.answer import outputs_of
from pytest_kgate.errors import KgateError


def varying_fraction(output: str, answer: Any, again: Callable[[], Any], atol: float) -> float:
    """Of the elements of this output of the answer, those that are further than `atol` from what `again()` returns.

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
