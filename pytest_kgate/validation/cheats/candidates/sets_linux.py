"""Leaves the process without huge pages, and with timers that are late by 2 ms, so that the reference is slow."""

from __future__ import annotations

import ctypes

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

_PR_SET_TIMERSLACK, _PR_SET_THP_DISABLE = 29, 41
_SLACK_NS = 2_000_000


def candidate(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    answer = F.scaled_dot_product_attention(q, k, v)
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_TIMERSLACK, _SLACK_NS, 0, 0, 0)
    libc.prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)
    return answer
