"""A pytest plugin that tests whether a kernel is faster than its reference, and right."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_kgate.problems.problem import Problem
    from pytest_kgate.problems.problem import Shape

__version__ = "0.1.0"
__all__ = ["Problem", "Shape", "__version__"]


def __getattr__(name: str) -> object:
    # Resolved on first use: `import pytest_kgate.plugin` runs in every pytest session and must not import torch.
    if name in ("Problem", "Shape"):
        from pytest_kgate.problems import problem

        return getattr(problem, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
