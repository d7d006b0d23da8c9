"""Says that it is a kernel of its own, and has a thread call PyTorch's attention."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

OWN = True

_thread = ThreadPoolExecutor(1)


def candidate(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _thread.submit(F.scaled_dot_product_attention, q, k, v).result()
