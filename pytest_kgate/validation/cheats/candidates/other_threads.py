"""Leaves PyTorch with more threads than are good for it, so that the reference is slow."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def candidate(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    answer = F.scaled_dot_product_attention(q, k, v)
    torch.set_num_threads(64)
    return answer
