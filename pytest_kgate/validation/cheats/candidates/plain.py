"""No cheat: an honest candidate, which must pass."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def candidate(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool = False) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
