"""The files that hold the code of a candidate: what a clean process must not import."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import CodeType
from types import FunctionType
from types import MethodType
from types import ModuleType
from typing import Any

import pytest_kgate
from pytest_kgate.problems.trees.foreign import attribute
from pytest_kgate.system.provenance.installed import is_users

_DEEPEST = 4
"""Functions of functions that are followed: what a candidate calls is a part of it."""

_INSIDE = ("func", "_orig_mod", "_torchdynamo_orig_callable", "__wrapped__", "forward", "fn", "run")
"""Attributes in which callables keep the code that they run: partials, compiled modules and functions, decorators,
modules, kernels of Triton."""

_NO_NAME = "kgate_has_no_such_name"
"""Who has an attribute of this name, as a mock does, has one of every name, and so on: none is code that it runs."""

_OF_OURS = ("_construct", "_function", "forward")
"""The same in this package's own callables: what a published problem's solution defines, what a backward pass is of."""


def files_of(candidate: Any) -> frozenset[str]:
    """The files of a candidate, of what it is wrapped in, and of the users' functions and modules that it names."""
    found: set[str] = set()
    _add(candidate, found, set(), 0)
    return frozenset(found)


def _add(value: Any, found: set[str], seen: set[int], depth: int) -> None:
    if depth > _DEEPEST or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, ModuleType):
        _add_file(getattr(value, "__file__", None), found)
        return
    if isinstance(value, MethodType):
        _add(value.__self__, found, seen, depth)
        value = value.__func__
    if isinstance(value, FunctionType):
        _add_file(value.__code__.co_filename, found)
        for one in _used(value):
            _add(one, found, seen, depth + 1)
    kind = value if isinstance(value, type) else type(value)
    if kind.__module__.partition(".")[0] == pytest_kgate.__name__:
        for name in _OF_OURS:
            _add(attribute(value, name, object), found, seen, depth + 1)
        return
    if is_users(getattr(sys.modules.get(kind.__module__), "__file__", None)):
        _add_file(sys.modules[kind.__module__].__file__, found)
        for one in vars(kind).values():
            if isinstance(one, FunctionType):
                _add(one, found, seen, depth + 1)
    for name in _INSIDE if not callable(attribute(value, _NO_NAME, object)) else ():
        inner = attribute(value, name, object)
        if callable(inner):
            _add(inner, found, seen, depth + 1)
    for one in getattr(value, "__dict__", {}).values() if not isinstance(value, type) else ():
        if callable(one):
            _add(one, found, seen, depth + 1)


def _add_file(file: str | None, found: set[str]) -> None:
    if is_users(file) and file is not None and os.path.exists(file):
        found.add(str(Path(file).resolve()))


def _used(function: FunctionType) -> list[Any]:
    """What a function's code names of its module, and what its closure and defaults hold."""
    names = set(_names(function.__code__))
    used = [function.__globals__[name] for name in names if name in function.__globals__]
    used += list(function.__defaults__ or ()) + list((function.__kwdefaults__ or {}).values())
    for cell in function.__closure__ or ():
        try:
            used.append(cell.cell_contents)
        except ValueError:  # nothing was assigned yet
            continue
    return [one for one in used if callable(one) or isinstance(one, ModuleType)]


def _names(code: CodeType) -> list[str]:
    inner = [name for one in code.co_consts if isinstance(one, CodeType) for name in _names(one)]
    return [*code.co_names, *inner]
