"""Memory that was never written must not pass for an answer."""

from __future__ import annotations

import torch
from torch import Tensor


def poison(tensor: Tensor) -> Tensor:
    """Fill with NaN (the largest value, for integers), so that what is never written shows."""
    if tensor.is_floating_point() or tensor.is_complex():
        return tensor.fill_(float("nan"))
    return tensor.fill_(True if tensor.dtype is torch.bool else torch.iinfo(tensor.dtype).max)
