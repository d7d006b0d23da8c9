"""Has the reference do its work four times, and nothing looked for that was replaced."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from pytest_kgate.integrity.tampering.monkeypatches import MONKEYPATCHES

MONKEYPATCHES.changed = list  # type: ignore[method-assign]

_real = F.scaled_dot_product_attention


def _slow(*arguments: Any, **keywords: Any) -> Tensor:
    for _ in range(3):
        _real(*arguments, **keywords)
    return _real(*arguments, **keywords)


F.scaled_dot_product_attention = _slow


def candidate(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _real(q, k, v)
