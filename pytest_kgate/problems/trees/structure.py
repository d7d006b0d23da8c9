"""What a tree is built of: tuples, lists, dicts, dataclasses, and what else `torch.utils._pytree` can take apart."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import types
from abc import ABCMeta
from collections import OrderedDict
from collections import defaultdict
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import Field
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

Path = tuple[Any, ...]
"""Keys from a tree's root to one of its leaves: places in sequences, keys of dicts, names of a dataclass's fields."""

DICTS = (OrderedDict, defaultdict, dict)
"""Dicts of Python's own, whose `values` are no code of anyone else's."""

_SHOWN = (bool, int, float, complex, str, bytes, type(None))
"""Types of leaves that `repr` tells in full, of these types themselves: a subclass may show anything."""

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
    kind = type(tree)
    if issubclass(kind, _PLAIN):
        return None
    if kind is torch.Size:
        return Node(range(len(tree)), tree, _sized)
    if issubclass(kind, (tuple, list)):
        its = in_order(tree)
        # A named tuple takes them one by one, torch.return_types as a sequence.
        named = kind not in (tuple, list) and _of_class(kind, "_fields") is not None
        return Node(range(len(its)), its, (lambda made: kind(*made)) if named else kind)
    if kind is dict:
        return Node(tuple(tree), tuple(tree.values()), lambda made: dict(zip(tree, made, strict=True)))
    if kind in DICTS:
        return Node(tuple(tree), tuple(kind.values(tree)), lambda made: _filled(tree, made))
    if dataclasses.is_dataclass(kind) and not issubclass(kind, dict):  # models of transformers are both
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

    Reads nothing of such a node. Leaves are not looked at. What an object calls its class (`__class__`), and what a
    class has in place of a sequence's or a dict's own functions, is code as well, and is not asked.
    """
    kind = type(tree)
    if issubclass(kind, _PLAIN):
        return None
    children: Iterable[Any] | None
    if kind in (tuple, list):
        children = tree
    elif kind in DICTS:
        children = tuple(kind.values(tree))
    elif (
        kind in _pytree.SUPPORTED_NODES
        or issubclass(kind, (tuple, list, dict))
        or _of_class(kind, "__dataclass_fields__") is not None
    ):
        children = _only_held(tree)
    else:
        return None
    if children is None:
        return kind
    return next((found for found in map(computes, children) if found is not None), None)


def held(tree: Any) -> Any:
    """What a tree holds, in tuples and dicts alone: to be copied without a class of the tree's own building the copy.

    Leaves have the paths that they had. Ask `computes` before.
    """
    node = opened(tree)
    if node is None:
        return tree
    children = tuple(map(held, node.children))
    return children if isinstance(node.keys, range) else dict(zip(node.keys, children, strict=True))


def in_order(tree: Any) -> tuple[Any, ...]:
    """What a tuple or a list holds, by Python's own function: one of its class may compute it."""
    return tuple(tuple.__iter__(tree) if issubclass(type(tree), tuple) else list.__iter__(tree))


def _only_held(tree: Any) -> tuple[Any, ...] | None:
    """What a named tuple or a dataclass holds; None where its class may compute any of it, and of other kinds."""
    kind = type(tree)
    if type(kind) not in (type, ABCMeta):  # a class is an object, too, of a class that may compute what it has
        return None
    if issubclass(kind, tuple):
        return in_order(tree) if _of_class(kind, "__iter__") is tuple.__iter__ else None
    told = _of_class(kind, "__dataclass_fields__")
    if issubclass(kind, (list, dict)) or type(told) is not dict or any(type(one) is not Field for one in told.values()):
        return None
    names = [field.name for field in dataclasses.fields(kind)]
    own = _of_class(kind, "__getattribute__") is object.__getattribute__
    if not own or any(_is_computed(kind, name) for name in names):
        return None
    try:
        return tuple(object.__getattribute__(tree, name) for name in names)  # without `__getattr__`
    except AttributeError:
        return None


def _of_class(kind: type, name: str) -> Any:
    """What a class or one that it is made of has under a name, as it is."""
    return next((vars(one)[name] for one in kind.__mro__ if name in vars(one)), None)


def _is_computed(kind: type, name: str) -> bool:
    """Whether a field is no plain attribute of its class's instances: a property, say."""
    found = _of_class(kind, name)
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


def outline(tree: Any) -> Any:
    """How a tree is built, with its numbers and strings: of tensors and what else is a leaf, the type alone."""
    kind = type(tree)
    if kind in _SHOWN:
        return kind, repr(tree)  # as NaN differs from itself, and 1 is 1.0 and True
    if issubclass(kind, Tensor) or (node := opened(tree)) is None:
        return kind
    return kind, [outline(key) for key in node.keys], [outline(child) for child in node.children]


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
