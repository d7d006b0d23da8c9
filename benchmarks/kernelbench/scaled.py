"""A published problem at smaller sizes: the file with its size constants overwritten, before anything uses them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from pytest_kgate.problems.published.kernelbench.source import Source

_LEAST = 16
"""Smaller constants are kernel sizes, strides, groups and the like, and stay."""


@contextlib.contextmanager
def scaled(file: Path, most: int, device: torch.device) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The path of a file whose sizes are at most about `most`, or larger ones where the model needs them.

    With 0, the published file itself. The second part names the constants that were changed.
    """
    if not most:
        yield file, {}
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file.name
        for sizes in (_smaller(file, most * factor) for factor in (1, 2, 4, 8, 16)):
            lines = "".join(f"{name} = {value!r}\n" for name, value in sizes.items())
            path.write_text(f"{file.read_text()}\n\n{lines}")
            if _runs(path, device):
                break
        else:
            raise RuntimeError(f"no reduced sizes suit the model, such as {sizes}")
        yield path, sizes


def _runs(path: Path, device: torch.device) -> bool:
    from pytest_kgate.problems.published.kernelbench.kernelbench import KernelBench

    try:
        problem = KernelBench(path)
        problem.reference(*problem.inputs(torch.Generator(device).manual_seed(0)))
    except ImportError:
        raise
    except (RuntimeError, ValueError, AssertionError, IndexError, TypeError):
        return False
    return True


def _smaller(file: Path, most: int) -> dict[str, Any]:
    module = Source.read(file).get_inputs.__globals__
    return {
        name: _reduced(value, most)
        for name, value in module.items()
        if not name.startswith("_") and _is_size(value) and _reduced(value, most) != value
    }


def _is_size(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return bool(value) and all(isinstance(one, int) for one in value)
    return isinstance(value, int) and not isinstance(value, bool)


def _reduced(value: Any, most: int) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(_reduced(one, most) for one in value)
    while value > max(most, _LEAST) and value % 2 == 0:
        value //= 2
    return most + value % 8 if value > 2 * most else value
