"""Says that it is a kernel of its own, and calls PyTorch's attention."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

OWN = True


def candidate(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)
