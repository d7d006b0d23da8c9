"""What a verdict rests on besides modules: gates, the problem's functions with what these go by, the race's objects.

A candidate can reach all of them as objects: set a gate's bound, or the cell of a reference's closure that names its
backend. They are remembered before its first call and compared afterwards.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.integrity.tampering.parts import add_parts
from pytest_kgate.problems.trees.genuine import hidden

if TYPE_CHECKING:
    from pytest_kgate.problems.problem import Problem

_ROLES = ("inputs", "hard_inputs", "reference", "exact")


class Basis:
    """Gates and problem as they were when this was made."""

    def __init__(self, problem: Problem, gates: object) -> None:
        """`gates` is whatever shows its values by `repr`."""
        self._problem = problem
        self._gates = gates
        self._shown = repr(gates)
        self._class = type(problem)
        self._parts = _parts_of(problem)

    def changed(self) -> list[str]:
        """Names of what is not as it was, such as `reference.flash.name`."""
        found = [] if repr(self._gates) == self._shown else [f"the test's gates, from {self._shown}"]
        if type(self._problem) is not self._class:  # one that computes its fields can tell who asks
            found.append("the problem's class")
        now = _parts_of(self._problem)
        return found + [f"the problem's {name}" for name, part in self._parts.items() if now.get(name) is not part]


class Objects:
    """What a race calls, as it was when it was added: its class, and what its fields hold."""

    def __init__(self) -> None:
        self._known: list[tuple[str, object, type, list[object]]] = []

    def add(self, name: str, one: object) -> None:
        """Remember an object, whose class must be one of a module of that name: a subclass can stand for it."""
        self._known.append((name, one, type(one), _fields(one)))

    def add_all(self, several: Mapping[str, object]) -> None:
        """Remember several by their names, of objects of this package's classes."""
        for name, one in several.items():
            if _is_its_modules(type(one)):  # a device may be a test's
                self.add(f"the {name}", one)

    def changed(self) -> list[str]:
        """Names of what is not as it was, or never was what it says that it is."""
        return [
            name
            for name, one, cls, fields in self._known
            if type(one) is not cls
            or not _is_its_modules(cls)
            or len(now := _fields(one)) != len(fields)
            or any(after is not before for after, before in zip(now, fields, strict=True))
        ]


def _is_its_modules(cls: type) -> bool:
    module = sys.modules.get(cls.__module__)
    ours = cls.__module__.partition(".")[0] == __name__.partition(".")[0]
    return ours and getattr(module, cls.__name__, None) is cls


def _fields(one: Any) -> list[object]:
    """Of a dataclass; of others, which have state, what hides something of their class."""
    if dataclasses.is_dataclass(one):
        return [getattr(one, field.name) for field in dataclasses.fields(one)]
    return [vars(one)[name] for name in hidden(one)]


def _parts_of(problem: Problem) -> dict[str, object]:
    found: dict[str, object] = {}
    for role in _ROLES:
        add_parts(found, role, getattr(problem, role))
    return found
