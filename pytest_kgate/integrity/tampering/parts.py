"""What a function, a module or another callable object goes by, as names and objects to be compared by identity.

A function goes by its code, its closure, its defaults and the globals that it reads, and so do the functions among
these. A bound method goes by its function and its object, a class by its functions, an object by its class's functions
and its own. A module of `torch.nn` goes by its submodules as well, by hooks, and by the classes of its parameters.

Other values are left out: a reference may count its calls, keep a buffer, or compile itself at the first of them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from types import CodeType
from types import FunctionType
from types import MethodType
from types import ModuleType
from typing import Any

import torch

from pytest_kgate.problems.trees.genuine import hidden
from pytest_kgate.system.provenance.installed import is_users_class

_DEEPEST = 3
"""Functions of functions that are looked at: a reference calls one that calls one."""

_MAKES = ("__init__", "__new__", "__setstate__")
"""Functions that make an object, by which no call of it goes. PyTorch's compiler puts its own around a module's."""


def add_parts(found: dict[str, object], name: str, value: Any, depth: int = 0) -> None:
    """Add a function, a module or a string under this name, and what it goes by."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            add_parts(found, f"{name}.{key}", one, depth)
        return
    if not callable(value) and not isinstance(value, (str, CodeType, ModuleType)):
        return
    found[name] = value
    if isinstance(value, functools.partial):
        add_parts(found, f"{name}.func", value.func, depth)
    elif depth == _DEEPEST:
        return
    elif isinstance(value, MethodType):
        add_parts(found, f"{name}.__func__", value.__func__, depth)
        add_parts(found, f"{name}.__self__", value.__self__, depth + 1)
    elif isinstance(value, FunctionType):
        add_parts(found, f"{name}.__code__", value.__code__, depth)
        for key, one in _used(value):
            add_parts(found, f"{name}.{key}", one, depth + 1)
    elif isinstance(value, type):
        _add_functions(found, value, depth)
    elif isinstance(value, torch.nn.Module):
        for path, one in _submodules(value):
            _add_object(found, f"{name}{path}", one, depth)
            _add_module(found, f"{name}{path}", one)
    elif is_users_class(type(value)):
        _add_object(found, name, value, depth)


def given(function: FunctionType) -> Iterator[tuple[str, object]]:
    """Names and values of a function's closure and of its defaults."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # nothing was assigned yet
            continue
    yield from (function.__kwdefaults__ or {}).items()
    yield from ((f"default {index}", one) for index, one in enumerate(function.__defaults__ or ()))


def _used(function: FunctionType) -> list[tuple[str, object]]:
    """What is given to a function, and the globals that it reads."""
    known = function.__globals__
    return [*given(function), *((name, known[name]) for name in function.__code__.co_names if name in known)]


def _add_functions(found: dict[str, object], kind: type, depth: int) -> None:
    """Add those of a class: of a user's with all that they go by, of an installed module's with their code.

    Of other installed classes none: there are many, and what they do is mostly not written in Python.
    """
    for base in kind.__mro__:
        name = f"{base.__module__}.{base.__qualname__}"
        users = is_users_class(base)
        if name in found or not (users or issubclass(base, torch.nn.Module)):  # many modules have the same
            continue
        found[name] = base
        for key, function in _functions(base):
            if users:
                add_parts(found, f"{name}.{key}", function, depth + 1)
            else:
                found |= {f"{name}.{key}": function, f"{name}.{key}.__code__": function.__code__}


def _functions(kind: type) -> Iterator[tuple[str, FunctionType]]:
    """Those that a class itself has, with their names, but for those in `_MAKES`."""
    for key, one in vars(kind).items():
        function = one.__func__ if isinstance(one, (staticmethod, classmethod)) else one
        if isinstance(function, FunctionType) and key not in _MAKES:
            yield key, function


def _add_object(found: dict[str, object], name: str, value: Any, depth: int) -> None:
    """Add an object's class with its functions, and the object's own, some of which may hide its class's.

    It may come to have more, as one does that compiles itself.
    """
    found[f"{name}'s class"] = type(value)
    _add_functions(found, type(value), depth)
    found[f"{name}'s own"] = _names(hidden(value))
    for key, one in _held(value).items():
        if isinstance(one, (FunctionType, MethodType)):
            add_parts(found, f"{name}.{key} of its own", one, depth + 1)


def _add_module(found: dict[str, object], name: str, module: torch.nn.Module) -> None:
    """Add hooks and children of a module, and of what classes its parameters and buffers are."""
    held = _held(module)
    for key, table in held.items():
        if "hooks" in key and isinstance(table, dict):
            found[f"{name}.{key}"] = _names(table)
            found |= {f"{name}.{key} {which}": one for which, one in table.items()}
    children = _table(held, "_modules")
    found |= {f"{name}.{key} (module)": one for key, one in children.items() if one is not None}
    if type(module).__module__.startswith("torch."):  # its children are called because they are there
        found[f"{name}'s children"] = _names(children)
    for kind in ("_parameters", "_buffers"):
        for key, tensor in _table(held, kind).items():
            if tensor is not None:  # that may be made at the first call
                found[f"{name}.{key}'s class"] = type(tensor)
                found[f"{name}.{key}'s own"] = _names(hidden(tensor))


def _submodules(module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """The module and all below it with their paths, each once, by the tables alone: a method may be another's.

    One that becomes of another class at its first call, as lazy ones do, is left out.
    """
    seen: set[int] = set()
    ahead = [("", module)]
    while ahead:
        path, one = ahead.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if getattr(type(one), "cls_to_become", None) is None:
            yield path, one
        children = _table(_held(one), "_modules").items()
        ahead += [(f"{path}.{key}", child) for key, child in children if child is not None]


def _held(value: Any) -> dict[str, Any]:
    return dict(vars(value)) if hasattr(value, "__dict__") else {}


def _table(held: dict[str, Any], name: str) -> dict[str, Any]:
    table = held.get(name)
    return dict(table) if isinstance(table, dict) else {}  # a module of TorchScript has another kind


def _names(names: Iterable[object]) -> str:
    """One string, to be compared by identity as all else is."""
    return sys.intern(" ".join(map(str, names)))
