"""Leaves autograd looking for anomalies, so that a reference with gradients is slow."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def candidate(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    answer = F.scaled_dot_product_attention(q, k, v)
    torch.autograd.set_detect_anomaly(True)
    return answer
