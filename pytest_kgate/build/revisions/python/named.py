"""Candidates in Python by their names in modules, and what has these names in the modules of another revision."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from types import MethodType
from types import ModuleType
from typing import Any

from pytest_kgate.build.revisions.python.checkout import within
from pytest_kgate.errors import RevisionError
from pytest_kgate.problems.trees.foreign import attribute

_INSIDE = ("__func__", "func", "_torchdynamo_orig_callable", "_orig_mod", "__wrapped__", "fn", "_init_fn", "forward")
"""Attributes in which callables keep the code that they run: bound methods, partials, compiled functions and modules,
decorators, kernels of Triton, custom operators, backward passes."""

_DEEPEST = 16


@dataclass(frozen=True)
class Name:
    """Where a function or class is found in a repository."""

    path: str
    """The file's, from the root."""
    module: str
    """The file's name as a module."""
    dotted: str
    """Within the module: `softmax`, `Kernels.softmax`."""


def code_of(candidate: Any) -> FunctionType | type:
    """The innermost function that a callable runs, or the class of an object that has none."""
    for _ in range(_DEEPEST):
        if isinstance(candidate, type):
            return candidate
        kept: list[Any] = [attribute(candidate, name, object) for name in _INSIDE]
        inner = next(filter(callable, kept), None)
        if inner is None:
            break
        candidate = inner
    return candidate if isinstance(candidate, FunctionType) else type(candidate)


def file_of(candidate: Any) -> Path | None:
    """The file that has its innermost code, a module's own; None for what is not written in Python."""
    try:
        return Path(inspect.getfile(candidate if isinstance(candidate, ModuleType) else code_of(candidate)))
    except (OSError, TypeError):
        return None


def name_of(candidate: Any, root: Path, homes: Sequence[Mapping[str, Any]]) -> Name | None:
    """Its name in the module that has its code, or in one of `homes`, the globals of others; None where it has none."""
    code = code_of(candidate)
    own = code.__globals__ if isinstance(code, FunctionType) else _globals_of(code)
    for home in (own, *homes):
        path = within(root, home.get("__file__"))
        dotted = None if path is None else _dotted(candidate, home)
        if path is not None and dotted is not None:
            return Name(path, str(home["__name__"]), dotted)
    return None


def named_at(name: Name, load: Callable[[str, str], ModuleType], title: str) -> Any:
    """What has the name in the module that `load` gives. Raises `RevisionError` where there is nothing of this name."""
    found: Any = load(name.path, name.module)
    for part in name.dotted.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise RevisionError(f"{name.path} had no {name.dotted} at {title}.", "Nothing is followed over renaming.")
    return found


def candidate_at(
    candidate: Any, root: Path, homes: Sequence[Mapping[str, Any]], get: Callable[[Name, Any], Any]
) -> Any:
    """The candidate, made of what `get` has for the names in it and what they mean today; None where it has no names.

    That is the object of the same name; of a partial, one of the same arguments, callables among which are looked up
    as well; of a bound method, that of the object that has the same name.
    """
    name = name_of(candidate, root, homes)
    if name is not None:
        return get(name, candidate)
    if isinstance(candidate, functools.partial):
        values = (candidate.func, *candidate.args, *candidate.keywords.values())
        then = [candidate_at(one, root, homes, get) if _is_users(one, root) else one for one in values]
        if any(one is None and value is not None for one, value in zip(then, values, strict=True)):
            return None
        function, *arguments = then
        count = len(candidate.args)
        return functools.partial(
            function, *arguments[:count], **dict(zip(candidate.keywords, arguments[count:], strict=True))
        )
    if isinstance(candidate, MethodType):
        owner = candidate_at(candidate.__self__, root, homes, get)
        return None if owner is None else getattr(owner, candidate.__name__, None)
    return None


def _globals_of(kind: type) -> Mapping[str, Any]:
    module = sys.modules.get(kind.__module__)
    return {} if module is None else vars(module)


def _is_users(value: Any, root: Path) -> bool:
    return callable(value) and within(root, file_of(value)) is not None


def parts_of(value: Any) -> list[Any]:
    """What a callable may call: what it wraps, the callables and modules in its closure, defaults and arguments."""
    found = [attribute(value, name, object) for name in _INSIDE]
    if isinstance(value, functools.partial):
        found += [*value.args, *value.keywords.values()]
    if isinstance(value, FunctionType):
        found += [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        found += [attribute(cell, "cell_contents", object) for cell in value.__closure__ or ()]
    return [one for one in found if callable(one) or isinstance(one, ModuleType)]


def _dotted(candidate: Any, home: Mapping[str, Any]) -> str | None:
    for own in (attribute(candidate, "__qualname__", str), attribute(candidate, "__name__", str)):
        if own is not None and "<" not in own:
            top, *rest = own.split(".")
            found = functools.reduce(lambda one, part: getattr(one, part, None), rest, home.get(top))
            if found is candidate or (isinstance(candidate, MethodType) and found == candidate):
                return own
    return next((name for name, value in list(home.items()) if value is candidate), None)
