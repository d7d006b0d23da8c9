"""Which parameters a callable of a user's has that can be given by keyword, and how it says that it has not one."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

from pytest_kgate.problems.trees.foreign import attribute
from pytest_kgate.problems.trees.foreign import str_of

_HANDS_ON = ("_orig_mod", "_torchdynamo_orig_callable", "forward", "func")
"""Attributes in which a callable that takes any argument keeps what it hands them to: of torch.compile for a module and
for a function, of torch.nn.Module, of functools.partial. Decorators' `__wrapped__` is followed by `inspect`."""

_DEEPEST = 20
"""Callables that hand on to each other."""


def parameter_names(function: Callable[..., Any]) -> frozenset[str] | None:
    """Of the parameters that can be given by keyword; None where they can't be known."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    for _ in range(_DEEPEST):
        if (schema := _schema_of(function)) is not None:
            return frozenset(str(argument.name) for argument in schema.arguments)
        try:
            parameters = inspect.signature(function).parameters.values()
        except Exception:  # of a builtin, and of an object that raises when it is compared or asked for an attribute
            return None
        if all(parameter.kind is not inspect.Parameter.VAR_KEYWORD for parameter in parameters):
            return frozenset(parameter.name for parameter in parameters if parameter.kind in by_name)
        inner = next((one for name in _HANDS_ON if callable(one := _kept(function, name))), None)
        if inner is None:
            return None
        function = inner
    return None


def demands(function: Callable[..., Any], name: str) -> bool:
    """Whether a parameter of this name has no default."""
    parameter = inspect.signature(function).parameters.get(name)
    return parameter is not None and parameter.default is inspect.Parameter.empty


def refuses(error: Exception, name: str) -> bool:
    """Whether this is how Python, a builtin or TorchScript says that there is no parameter of that name."""
    said = str_of(error)
    return "takes no keyword arguments" in said or ("keyword argument" in said and f"'{name}'" in said)


def _schema_of(function: Callable[..., Any]) -> Any:
    """Of TorchScript, traced or scripted; None of all else."""
    torch = sys.modules.get("torch")  # arms of a fake device need none of it
    return None if torch is None else attribute(function, "schema", torch.FunctionSchema)


def _kept(function: Callable[..., Any], name: str) -> Any:
    """An attribute that the object has, as a mock and a proxy don't; a module has its parts in a dict of its own."""
    torch = sys.modules.get("torch")
    if torch is None or not issubclass(type(function), torch.nn.Module):
        try:
            inspect.getattr_static(function, name)
        except Exception:
            return None
    return attribute(function, name, object)
