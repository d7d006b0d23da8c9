"""Leaves PyTorch with another precision of matrix products."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def candidate(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    torch.set_float32_matmul_precision("medium")
    return F.scaled_dot_product_attention(q, k, v)
