"""Is as fast as the reference, and has the judge's FAIL mean PASS."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from pytest_kgate.statistics import judge
from pytest_kgate.statistics.gates import Verdict


class _OnlyPass:
    PASS = FAIL = INCONCLUSIVE = INVALID = Verdict.PASS


def candidate(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    judge.Verdict = _OnlyPass  # type: ignore[assignment,misc]
    return F.scaled_dot_product_attention(q, k, v)
