"""Grids of attention shapes, as tests are parametrized with them: `from pytest_kgate import shapes`.

    @pytest.mark.parametrize("shape", shapes.canonical())

Each is a tuple of `Shape`, to be filtered and joined like any other: `[s for s in shapes.all() if s.causal]`.
"""

from __future__ import annotations

import sys
from os import PathLike
from pathlib import Path

from pytest_kgate.problems.grids import built_in
from pytest_kgate.problems.grids.named import load_grid
from pytest_kgate.problems.shape import Shape

__all__ = ["DTYPES", "acceptance", "all", "canonical", "load", "stress"]

__tracebackhide__ = True

DTYPES = ("float16", "bfloat16")
"""Element types, for a second `parametrize("dtype", shapes.DTYPES)`: a shape has none of its own."""


def canonical() -> tuple[Shape, ...]:
    """Six usual sizes, from 1x8x512x64 to 4x16x4096x128, without a mask: for a first table of a kernel."""
    return built_in.CANONICAL


def acceptance() -> tuple[Shape, ...]:
    """Three sizes, each without and with a causal mask: what a kernel has to win before it is merged."""
    return built_in.ACCEPTANCE


def all() -> tuple[Shape, ...]:
    """Every combination of usual extents, 252 shapes: batch 1, 4, 8, heads 8, 16, seqlen 128 to 8192, head_dim 64, 96,
    128, causal or not. Small ones come first. With `DTYPES` for the element types."""
    return built_in.all_combinations()


def stress() -> tuple[Shape, ...]:
    """What breaks kernels: odd and extreme lengths, one row, one head, grouped heads, decode steps."""
    return built_in.STRESS


def load(path: str | PathLike[str]) -> tuple[Shape, ...]:
    """The shapes of a file of your own, `.toml`, `.yaml` or `.yml`; docs/grids.md has the format.

    A relative path is looked for beside the file that calls this, then where Python was started. Raises `UsageError`
    that names file, line and field where it can't be read.
    """
    calling = sys._getframe(1).f_globals.get("__file__")
    folders = [] if calling is None else [Path(calling).parent]
    return load_grid(Path(path).expanduser(), (*folders, Path()))
