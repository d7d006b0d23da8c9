"""Has malloc take each large block from the system anew from its import on, before any setting is read."""

from __future__ import annotations

import ctypes

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

_libc = ctypes.CDLL(None)
_libc.mallopt(_M_MMAP_THRESHOLD, 65536)
_libc.mallopt(_M_TRIM_THRESHOLD, 0)


def candidate(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)
