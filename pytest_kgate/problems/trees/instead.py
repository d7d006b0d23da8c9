"""What to return instead of something that is no tensor, or is built otherwise than asked for, as advice."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from pytest_kgate.problems.trees import structure

TENSOR = "Return a torch tensor, or an array that supports DLPack."


def built_otherwise(
    returned: object, found: Iterable[str], wanted: Iterable[str], *, in_place: bool
) -> tuple[str, str]:
    """What is wrong with an answer that holds other outputs than it must, and what to do."""
    asked, got = ", ".join(wanted), "nothing" if returned is None else indefinite(type(returned).__name__)
    if asked == "output":
        return f"The candidate returned {got}, not a tensor.", one_of(returned)
    if in_place and not asked.startswith("output"):
        return (
            f"The candidate returned {got} of its own, and the problem asks for nothing but what a call changes: "
            f"{asked}.",
            "Write to that, as the reference does, and return it or nothing.",
        )
    held = ", ".join(found) or "no output"
    return (
        f"The candidate returned {got}{'' if held == 'output' else f' with {held}'}, and the problem asks for {asked}.",
        "Return what the reference returns: as many tensors, in tuples, lists or dicts that are built alike"
        + ("; what is changed in place need not be returned." if in_place else "."),
    )


def one_of(result: Any) -> str:
    """What to do where a tuple, list or dict came in place of a tensor that it may hold."""
    if type(result) not in (tuple, list, dict):
        return instead_of(result)
    paths = structure.paths(result)
    path = next((path for path, leaf in paths.items() if isinstance(leaf, Tensor) or is_array(leaf)), ())
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
    if callable(result):
        return f"What it returned can be called itself: where that is the kernel, hand over that. {TENSOR}"
    return TENSOR


def is_array(value: object) -> bool:
    """Whether it supports DLPack. The object itself is not asked: it may answer anything, or raise."""
    return hasattr(type(value), "__dlpack__")


def indefinite(noun: str) -> str:
    """The noun with its indefinite article."""
    return f"an {noun}" if noun[0].lower() in "aeiou" else f"a {noun}"
