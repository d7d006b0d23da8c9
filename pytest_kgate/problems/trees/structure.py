"""What a tree is built of: tuples, lists, dicts, dataclasses, and what else `torch.utils._pytree` can take apart."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import itertools
import types
from collections import OrderedDict
from collections import defaultdict
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

Path = tuple[Any, ...]
"""Keys from a tree's root to one of its leaves: places in sequences, keys of dicts, names of a dataclass's fields."""

_PLAIN = (Tensor, int, float, complex, str, bytes, type(None))
"""Leaves, told without a look at PyTorch's table."""


@dataclass(frozen=True)
class Node:
    """One node of a tree, taken apart."""

    keys: Sequence[Any]
    children: Sequence[Any]
    build: Callable[[Iterable[Any]], Any]
    """From other children to a node of the same kind."""


def opened(tree: Any) -> Node | None:
    """The node that a tree begins with; None where it is a leaf."""
    if isinstance(tree, _PLAIN):
        return None
    kind = type(tree)
    if kind is torch.Size:
        return Node(range(len(tree)), tree, _sized)
    if isinstance(tree, (tuple, list)):
        fields = hasattr(tree, "_fields")  # a named tuple takes them one by one, torch.return_types as a sequence
        return Node(range(len(tree)), tree, (lambda made: kind(*made)) if fields else kind)
    if kind is dict:
        return Node(tuple(tree), tuple(tree.values()), lambda made: dict(zip(tree, made, strict=True)))
    if dataclasses.is_dataclass(tree) and not isinstance(tree, dict):  # models of transformers are both
        names = tuple(field.name for field in dataclasses.fields(tree))
        return Node(names, tuple(getattr(tree, name) for name in names), lambda made: _replaced(tree, names, made))
    if kind in _pytree.SUPPORTED_NODES:
        children, context = _pytree.SUPPORTED_NODES[kind].flatten_fn(tree)
        unflatten = _pytree.SUPPORTED_NODES[kind].unflatten_fn
        keys = tuple(tree) if isinstance(tree, dict) else range(len(children))
        return Node(keys, children, lambda made: unflatten(list(made), context))
    if isinstance(tree, dict):
        return Node(tuple(tree), tuple(tree.values()), lambda made: _filled(tree, made))
    return None


def computes(tree: Any) -> type | None:
    """The type of the first node that may run code of its own when it is read; None where all nodes only hold things.

    Reads nothing of such a node. Leaves are not looked at.
    """
    kind = type(tree)
    if isinstance(tree, _PLAIN):
        return None
    children: Iterable[Any]
    if kind in (tuple, list) or (isinstance(tree, tuple) and kind.__iter__ is tuple.__iter__):
        children = tuple(tree)
    elif kind in (dict, OrderedDict, defaultdict):
        children = tuple(tree.values())
    elif dataclasses.is_dataclass(kind) and not isinstance(tree, dict):
        names = [field.name for field in dataclasses.fields(kind)]
        if kind.__getattribute__ is not object.__getattribute__ or any(_is_computed(kind, name) for name in names):
            return kind
        children = tuple(getattr(tree, name) for name in names)
    elif isinstance(tree, (tuple, list, dict)) or kind in _pytree.SUPPORTED_NODES:
        return kind
    else:
        return None
    return next((found for found in map(computes, children) if found is not None), None)


def _is_computed(kind: type, name: str) -> bool:
    """Whether a field is no plain attribute of its class's instances: a property, say."""
    found = inspect.getattr_static(kind, name, None)
    return hasattr(type(found), "__get__") and not isinstance(found, types.MemberDescriptorType)


def paths(tree: Any, path: Path = ()) -> dict[Path, Any]:
    """All leaves of a tree by where they are, in order."""
    node = opened(tree)
    if node is None:
        return {path: tree}
    found: dict[Path, Any] = {}
    for key, child in zip(node.keys, node.children, strict=True):
        found |= paths(child, (*path, key))
    return found


def fields(tree: Any, field: str = "") -> Iterator[tuple[str, Any]]:
    """All leaves in order, each with its field's name where it is in a named tuple; `topk` returns one, too."""
    node = opened(tree)
    if node is None:
        yield field, tree
        return
    names = getattr(type(tree), "__match_args__", ()) if isinstance(tree, tuple) else ()
    for child, name in itertools.zip_longest(node.children, names[: len(node.children)], fillvalue=""):
        yield from fields(child, name)


def mapped(tree: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of the tree with each leaf changed, in order."""
    node = opened(tree)
    return change(tree) if node is None else node.build([mapped(child, change) for child in node.children])


def _sized(made: Iterable[Any]) -> tuple[Any, ...]:
    """A `torch.Size`, which holds numbers only; a tuple where other things stand for these."""
    children = tuple(made)
    return torch.Size(children) if all(isinstance(child, int) for child in children) else children


def _replaced(tree: Any, names: Sequence[str], made: Iterable[Any]) -> Any:
    """A copy of a dataclass with other fields; one that is frozen, or makes fields itself, can't be called for it."""
    found = copy.copy(tree)
    for name, value in zip(names, made, strict=True):
        object.__setattr__(found, name, value)
    return found


def _filled(tree: Any, made: Iterable[Any]) -> Any:
    found = copy.copy(tree)
    for key, value in zip(tree, made, strict=True):
        found[key] = value
    return found
