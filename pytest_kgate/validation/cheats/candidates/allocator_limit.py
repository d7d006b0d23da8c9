"""Leaves PyTorch's allocator with a limit."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def candidate(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    torch.cuda.set_per_process_memory_fraction(0.5)
    return F.scaled_dot_product_attention(q, k, v)
