"""Trees of inputs and outputs as messages: what is no tensor of the block is sent to the other process as JSON."""

from __future__ import annotations

import collections
import dataclasses
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pytest_kgate.device.arm import InPlace
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.trees.structure import opened
from pytest_kgate.problems.trees.tree import has_span

Message = dict[str, Any]
"""One node: its kind, and what it holds."""


def described(tree: Any, in_block: Callable[[Tensor], bool]) -> Message:
    """The message of a tree, in which tensors that are in the block are only mentioned, in order.

    Raises `UsageError` for what can't be sent.
    """
    if isinstance(tree, Tensor):
        if has_span(tree) and in_block(tree):
            return {"tensor": True}
        if tree.layout is not torch.strided:
            raise UsageError(
                "An isolated candidate can't be given sparse tensors.", "Pass the tensors that they consist of."
            )
        return {"host": tree.tolist(), "dtype": str(tree.dtype).removeprefix("torch."), "shape": list(tree.shape)}
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return {"value": tree}
    node = opened(tree)
    if node is None:
        raise UsageError(
            f"An isolated candidate can't be given {type(tree).__name__}.",
            "Pass tensors, numbers, strings and None, in tuples, lists, dicts and dataclasses.",
        )
    inside = [described(child, in_block) for child in node.children]
    if isinstance(tree, InPlace):
        return {"in place": inside[0], "changed": list(tree.changed)}
    if isinstance(tree, torch.Size):
        return {"size": list(tree)}
    if isinstance(tree, tuple):
        return {"tuple": inside, "fields": list(getattr(tree, "_fields", ())), "name": type(tree).__name__}
    if isinstance(tree, list):
        return {"list": inside}
    keys = list(node.keys)
    return {"dict" if not dataclasses.is_dataclass(tree) else "object": inside, "keys": keys}


def tree_of(message: Message, tensors: Callable[[], Tensor], inputs: tuple[Any, ...] = ()) -> Any:
    """The tree of a message; `tensors()` is asked for those in the block, in order.

    Named tuples come as others of the same fields, dataclasses as objects with the same attributes. `inputs` are those
    of which some are changed in place.
    """
    if "tensor" in message:
        return tensors()
    if "host" in message:
        return torch.tensor(message["host"], dtype=getattr(torch, message["dtype"])).reshape(message["shape"])
    if "value" in message:
        return message["value"]
    if "size" in message:
        return torch.Size(message["size"])
    if "in place" in message:
        returned = tree_of(message["in place"], tensors)
        return InPlace(returned, {place: inputs[place] for place in message["changed"]})
    kind = next(name for name in ("tuple", "list", "dict", "object") if name in message)
    made = [tree_of(one, tensors) for one in message[kind]]
    if kind == "tuple":
        fields = message["fields"]
        return collections.namedtuple(message["name"], fields)(*made) if fields else tuple(made)
    if kind == "list":
        return made
    named = dict(zip(message["keys"], made, strict=True))
    return types.SimpleNamespace(**named) if kind == "object" else named
