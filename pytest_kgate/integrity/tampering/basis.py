"""What a verdict rests on besides modules: gates, the problem's functions with what these go by, the race's objects.

A candidate can reach all of them as objects: set a gate's bound, or the cell of a reference's closure that names its
backend. They are remembered before its first call and compared afterwards.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from collections.abc import Mapping
from types import CodeType
from types import FunctionType
from types import ModuleType
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from pytest_kgate.problems.problem import Problem

_DEEPEST = 3
"""Functions of functions that are looked at: a reference calls one that calls one."""

_ROLES = ("inputs", "hard_inputs", "reference", "exact")


class Basis:
    """Gates and problem as they were when this was made."""

    def __init__(self, problem: Problem, gates: object) -> None:
        """`gates` is whatever shows its values by `repr`."""
        self._problem = problem
        self._gates = gates
        self._shown = repr(gates)
        self._parts = _parts_of(problem)

    def changed(self) -> list[str]:
        """Names of what is not as it was, such as `reference.flash.name`."""
        found = [] if repr(self._gates) == self._shown else [f"the test's gates, from {self._shown}"]
        now = _parts_of(self._problem)
        return found + [f"the problem's {name}" for name, part in self._parts.items() if now.get(name) is not part]


class Objects:
    """What a race calls, as it was when it was added: its class, and what its fields hold."""

    def __init__(self) -> None:
        self._known: list[tuple[str, object, type, list[object]]] = []

    def add(self, name: str, one: object) -> None:
        """Remember an object, whose class must be one of a module of that name: a subclass can stand for it."""
        self._known.append((name, one, type(one), _fields(one)))

    def changed(self) -> list[str]:
        """Names of what is not as it was, or never was what it says that it is."""
        return [
            name
            for name, one, cls, fields in self._known
            if type(one) is not cls
            or not _is_its_modules(cls)
            or any(now is not before for now, before in zip(_fields(one), fields, strict=False))
        ]


def _is_its_modules(cls: type) -> bool:
    module = sys.modules.get(cls.__module__)
    ours = cls.__module__.partition(".")[0] == __name__.partition(".")[0]
    return ours and getattr(module, cls.__name__, None) is cls


def _fields(one: Any) -> list[object]:
    """Of a dataclass; of others none, which have state."""
    return [getattr(one, field.name) for field in dataclasses.fields(one)] if dataclasses.is_dataclass(one) else []


def _parts_of(problem: Problem) -> dict[str, object]:
    found: dict[str, object] = {}
    for role in _ROLES:
        _add(found, role, getattr(problem, role), 0)
    return found


def _add(found: dict[str, object], name: str, value: Any, depth: int) -> None:
    """Add a function, a module or a string, and what the function goes by.

    Other values are left out: a reference may count its calls, or compile itself at the first of them.
    """
    if isinstance(value, Mapping):
        for key, one in value.items():
            _add(found, f"{name}.{key}", one, depth)
        return
    if not callable(value) and not isinstance(value, (str, CodeType, ModuleType)):
        return
    found[name] = value
    if isinstance(value, functools.partial):
        _add(found, f"{name}.func", value.func, depth)
    elif isinstance(value, FunctionType) and depth < _DEEPEST:
        _add(found, f"{name}.__code__", value.__code__, depth)
        for key, one in _used(value):
            _add(found, f"{name}.{key}", one, depth + 1)


def _used(function: Callable[..., Any]) -> list[tuple[str, object]]:
    """Names and values of a function's closure, of its defaults, and of the globals that it reads."""
    assert isinstance(function, FunctionType)
    code = function.__code__
    used: list[tuple[str, object]] = []
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            used.append((name, cell.cell_contents))
        except ValueError:  # nothing was assigned yet
            continue
    used += (function.__kwdefaults__ or {}).items()
    used += [(f"default {index}", one) for index, one in enumerate(function.__defaults__ or ())]
    used += [(name, function.__globals__[name]) for name in code.co_names if name in function.__globals__]
    return used
