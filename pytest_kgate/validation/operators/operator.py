"""The type of an operator that the check is shown: its problem in two sizes, and an honest candidate for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator
from torch import Tensor

from pytest_kgate.problems.problem import Problem


@dataclass(frozen=True)
class Operator:
    """One operator, of a kind that users bring."""

    kind: str
    """What is special about it, in a few words: `two outputs`, `in place`, `fp8`."""
    problem: Callable[[bool], Problem]
    """From whether it is to be large, as on a GPU, to the problem. Small ones take milliseconds on a CPU."""
    candidate: Callable[..., Any]
    """An honest one, which computes the same in another way where there is one."""
    refused: bool = False
    """Whether the check does not take it, and says so in a sentence."""


def normal(g: Generator, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Draw normal values of this shape."""
    return torch.randn(*shape, generator=g, device=g.device).to(dtype)


def integers(g: Generator, high: int, *shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
    """Draw integers from 0 to `high` - 1, of this shape."""
    return torch.randint(0, high, shape, generator=g, device=g.device).to(dtype)
