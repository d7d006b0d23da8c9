"""How a problem is made again in another process: by data and by names, as JSON holds them, never by pickled code.

The clean process runs nothing of the candidate, so a problem can be made there where all of its functions are found by
name in modules other than the candidate's, or where it is one of the plugin's own, which data tell.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING
from typing import Any

import torch

from pytest_kgate.problems.attention.problem import arguments_of
from pytest_kgate.problems.shape import Shape
from pytest_kgate.problems.trees.foreign import attribute
from pytest_kgate.system.provenance.installed import is_users

if TYPE_CHECKING:
    from pytest_kgate.problems.problem import Problem

ROLES = ("inputs", "hard_inputs", "reference", "exact", "equal")
"""The fields of a problem that hold functions; `reference` may be several by name."""

_BUILTINS = ("torch", "torch.nn.functional", "torch.special", "torch.linalg", "torch.fft", "operator", "math")
"""Modules in which functions written in C are looked for, which do not say where they belong."""


class NotRebuilt(Exception):
    """Why a problem can't be made in the clean process, as one clause."""


class NeedsCandidate(NotRebuilt):
    """A problem can't be made in the clean process without importing the candidate's code."""


def recipe_of(problem: Problem, reference: str | None, candidate_files: frozenset[str]) -> dict[str, Any]:
    """What `rebuild.rebuilt` makes the problem of; raises `NotRebuilt`.

    `reference`: the name of the chosen one of several. `candidate_files` are those of the candidate's code.
    """
    recipe: dict[str, Any] = {
        "name": problem.name,
        "mutates": list(problem.mutates),
        "tolerance": {name: _value(one) for name, one in problem.tolerance.items()},
        "params": {name: _value(one) for name, one in problem.params.items()},
        "rows": None if problem.rows is None else list(problem.rows),
        "backend": reference,
    }
    attention = arguments_of(problem)
    if attention is not None:
        return {**recipe, "attention": attention}
    read = problem.published
    if read is not None and (problem.inputs, problem.reference, problem.equal) == (
        read.inputs,
        read.reference,
        read.equal,
    ):
        message = read.to_message()
        _demand_not_candidates("the problem's reference", message, candidate_files)
        return {**recipe, "published": [read.kind, message]}
    functions = {role: getattr(problem, role) for role in ROLES if getattr(problem, role) is not None}
    if isinstance(problem.reference, Mapping):
        functions["reference"] = problem.reference[str(reference)]
    try:
        recipe["functions"] = {role: _function(role, one, candidate_files) for role, one in functions.items()}
    except NotRebuilt:
        whole = "held" if (found := _holder(problem)) is not None else "made"
        found = found or _maker(functions.values())
        if found is None:
            raise
        _demand_not_candidates(f"the problem {problem.name}", found, candidate_files)
        recipe[whole] = found
    return recipe


def is_own(recipe: Mapping[str, Any]) -> bool:
    """Whether the problem is one of the plugin's own: what is made anew can then differ in nothing."""
    return "attention" in recipe


def _function(role: str, function: Any, candidate_files: frozenset[str]) -> dict[str, Any]:
    if isinstance(function, functools.partial):
        return {
            "partial": _function(role, function.func, candidate_files),
            "arguments": [_value(one) for one in function.args],
            "keywords": {name: _value(one) for name, one in function.keywords.items()},
        }
    found = _name(function)
    if found is None:
        raise NotRebuilt(f"the problem's {role} has no name in a module, by which another process could import it")
    _demand_not_candidates(f"the problem's {role}", found, candidate_files)
    return found


def _demand_not_candidates(what: str, found: Mapping[str, Any], candidate_files: frozenset[str]) -> None:
    if found["file"] in candidate_files:
        raise NeedsCandidate(f"{what} is in the candidate's own module")


def _name(function: Any) -> dict[str, Any] | None:
    """Module, its file and the path to the function in it; None where no module has it."""
    module, path = attribute(function, "__module__", str), attribute(function, "__qualname__", str, "")
    if module is not None and _followed(sys.modules.get(module), path) is function:
        return _named(module, path.split("."))
    own_name = attribute(function, "__name__", str, "")
    for module in _BUILTINS:
        if own_name and getattr(sys.modules.get(module), own_name, None) is function:
            return _named(module, [own_name])
    return _holder(function)


def _named(module: str, path: list[Any]) -> dict[str, Any] | None:
    if module == "__main__":  # another file in another process
        return None
    file = getattr(sys.modules[module], "__file__", None)
    return {"module": module, "path": path, "file": str(Path(file).resolve()) if file else None}


def _followed(module: Any, path: str) -> Any:
    found = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


def _holder(wanted: Any) -> dict[str, Any] | None:
    """The user's module that has this object under a name, or in a tuple, list or dict there."""
    for name, module in list(sys.modules.items()):
        if not is_users(getattr(module, "__file__", None)):
            continue
        for key, value in list(vars(module).items()):
            if value is wanted:
                return _named(name, [key])
            kind = type(value)  # isinstance would ask the value itself, and some of PyTorch's then warn
            if issubclass(kind, (tuple, list)):
                items: Any = enumerate(value)
            elif issubclass(kind, dict):
                items = ((at, one) for at, one in value.items() if isinstance(at, (str, int)))
            else:
                continue
            for at, one in items:
                if one is wanted:
                    return _named(name, [key, at])
    return None


def _maker(functions: Iterable[Any]) -> dict[str, Any] | None:
    """The function without arguments in which all of these were defined that have no name; None where there is none.

    Whether it makes the same problem again shows in the clean process.
    """
    inner = [one for one in functions if "<locals>" in attribute(one, "__qualname__", str, "")]
    makers = {(one.__module__, one.__qualname__.partition(".<locals>")[0]) for one in inner}
    if len(makers) != 1:
        return None
    module, path = makers.pop()
    function = _followed(sys.modules.get(module), path)
    if not isinstance(function, FunctionType) or function.__name__.startswith("test"):
        return None
    parameters = inspect.signature(function).parameters.values()
    if any(one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in parameters):
        return None
    return _named(module, path.split("."))


def _value(value: Any) -> Any:
    """A plain value as JSON holds it; raises `NotRebuilt` for others."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, Shape):
        return {"shape": value.arguments()}
    if isinstance(value, tuple):
        return {"tuple": [_value(one) for one in value]}
    if isinstance(value, list):
        return [_value(one) for one in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _value(one) for key, one in value.items()}}
    raise NotRebuilt(f"the problem goes by a {type(value).__name__}, which is no plain value")
