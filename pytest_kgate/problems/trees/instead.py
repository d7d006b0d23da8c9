"""What to return instead of something that is no tensor, as advice."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor

from pytest_kgate.problems.trees import structure

TENSOR = "Return a torch tensor, or an array that supports DLPack."


def one_of(result: Any) -> str:
    """What to do where a tuple, list or dict came in place of a tensor that it may hold."""
    if type(result) not in (tuple, list, dict):
        return instead_of(result)
    paths = structure.paths(result)
    path = next((path for path, leaf in paths.items() if isinstance(leaf, Tensor) or hasattr(leaf, "__dlpack__")), ())
    if not path:
        return TENSOR
    keys = "".join(f"[{key!r}]" for key in path)
    return f"{TENSOR} Of several, wrap the candidate: `lambda *inputs: kernel(*inputs){keys}`."


def instead_of(result: object) -> str:
    """What to do where something came that neither is a tensor nor holds any."""
    if inspect.iscoroutine(result):
        result.close()  # else Python complains, in the middle of the report, that nothing awaits it
        return f"A candidate is called, not awaited: make it a plain function, without `async`. {TENSOR}"
    if inspect.isgenerator(result):
        return f"Its function has a `yield`: let it return. {TENSOR}"
    return TENSOR
