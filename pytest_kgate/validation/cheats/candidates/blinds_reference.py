"""Has the reference do its work eight times, works three times itself, and has nobody look for what was replaced.

It works more than once so that it is slower than the reference of a process in which nothing is replaced, whichever of
PyTorch's backends that has picked.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from pytest_kgate.integrity.tampering.monkeypatches import MONKEYPATCHES

MONKEYPATCHES.changed = list  # type: ignore[method-assign]

_real = F.scaled_dot_product_attention


def _slow(*arguments: Any, **keywords: Any) -> Tensor:
    for _ in range(7):
        _real(*arguments, **keywords)
    return _real(*arguments, **keywords)


F.scaled_dot_product_attention = _slow


def candidate(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    for _ in range(2):
        _real(q, k, v)
    return _real(q, k, v)
