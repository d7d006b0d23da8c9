"""What a value holds, and which names are read of it: as far as code of a user's goes, and weights of modules."""

from __future__ import annotations

import functools
import gc
import sys
from collections import OrderedDict
from collections import defaultdict
from collections import deque
from collections.abc import Iterable
from collections.abc import Iterator
from types import CodeType
from types import FunctionType
from types import MappingProxyType
from types import MethodType
from types import ModuleType
from typing import Any

import numpy as np
import torch

from pytest_kgate.integrity.tampering.parts import given
from pytest_kgate.system.provenance.installed import is_users
from pytest_kgate.system.provenance.installed import is_users_class

SHOWN = frozenset({bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size})
IN_ORDER = frozenset({list, tuple, deque})
_DICTS = frozenset({dict, OrderedDict, defaultdict, MappingProxyType})
TENSORS = frozenset({torch.Tensor, torch.nn.Parameter})
_HOLDS = TENSORS | IN_ORDER | _DICTS | {np.ndarray}
"""Types of which others than who made it can change what one holds."""

_ENTRIES = ("__call__", "forward")

_OPERATORS = (torch._ops.OpOverloadPacket, getattr(torch.library, "CustomOpDef", None))
_CACHED = type(functools.lru_cache(lambda: None))


def inside(value: Any, reads: frozenset[str]) -> Iterable[tuple[str, Any, frozenset[str]]]:
    """What a value holds: a name, what it stands for, and what is read of it."""
    kind = type(value)
    if kind in IN_ORDER:
        return [(f"[{place}]", one, reads) for place, one in enumerate(list(value))]
    if kind in _DICTS:
        held = list(dict(value).items())
        return [(f"[{key!r}]", one, reads) for key, one in held if type(key) in SHOWN]
    if kind is FunctionType:
        return _of_function(value)
    if kind is MethodType:
        return [(".__func__", value.__func__, reads), (".__self__", value.__self__, _names(value.__func__))]
    if kind is functools.partial:
        return [(f".{key}", getattr(value, key), reads) for key in ("func", "args", "keywords")]
    if kind is _CACHED:
        return _of_cache(value, reads)
    if issubclass(kind, ModuleType):
        known = vars(value)
        return [(f".{key}", known[key], reads) for key in reads if key in known]
    if issubclass(kind, torch.nn.Module):
        return _of_module(value)
    if kind in _OPERATORS:
        return _of_operator(value)
    if issubclass(kind, type):
        return _of_class(value, reads) if is_users_class(value) else ()
    return _of_object(value, reads) if is_users_class(kind) else ()


@functools.lru_cache(4096)
def _names_of(code: CodeType) -> frozenset[str]:
    """All names that code looks up in globals, modules and objects, functions within it included."""
    inner = (one for one in code.co_consts if isinstance(one, CodeType))
    return frozenset(code.co_names).union(*map(_names_of, inner))


def _names(function: object) -> frozenset[str]:
    code = getattr(function, "__code__", None)
    return _names_of(code) if isinstance(code, CodeType) else frozenset()


def _of_function(function: FunctionType) -> Iterator[tuple[str, Any, frozenset[str]]]:
    code, reads = function.__code__, _names(function)
    yield ".__code__", code, reads
    yield from ((f".{name}", one, reads) for name, one in given(function))
    for name, one in vars(function).items():
        if name in reads or name == "__wrapped__":
            yield f".{name} of its own", one, reads
    if not is_users(code.co_filename):
        return
    known, builtin = function.__globals__, vars(sys.modules["builtins"])
    for name in reads:
        if name in known:
            yield f".{name}", known[name], reads
        elif name in builtin:
            yield f".{name}", builtin[name], reads
        elif name in sys.modules:  # it may be imported there
            yield f".{name}", sys.modules[name], reads


def _of_cache(cached: Any, reads: frozenset[str]) -> Iterator[tuple[str, Any, frozenset[str]]]:
    """What `functools.lru_cache` has wrapped, and the results that it keeps: only the collector hands these out."""
    yield ".__wrapped__", cached.__wrapped__, reads
    own = vars(cached)
    for one in gc.get_referents(cached):
        for result in one.values() if type(one) is dict and one is not own else [one]:
            if type(result) in _HOLDS:
                yield f" cached at {id(result):x}", result, reads


def _of_operator(operator: Any) -> Iterator[tuple[str, Any, frozenset[str]]]:
    """The kernels of an operator that `torch.library.custom_op` has made."""
    made = operator
    if type(operator) is torch._ops.OpOverloadPacket:
        known = getattr(sys.modules.get("torch._library.custom_ops"), "OPDEFS", {})
        made = known.get(operator._qualified_op_name)
    if made is not None:
        yield "'s kernels", [made._init_fn, *made._backend_fns.values()], frozenset()


def _of_class(kind: type, reads: frozenset[str]) -> Iterator[tuple[str, Any, frozenset[str]]]:
    for base in kind.__mro__:
        for name, one in list(vars(base).items()) if is_users_class(base) else ():
            if name in reads:
                yield f".{name}", _function_of(one), reads


def _function_of(one: Any) -> Any:
    """What a method of a class or a property goes by; anything else as it is."""
    if isinstance(one, (staticmethod, classmethod)):
        return one.__func__
    return one.fget if type(one) is property else one


def _of_object(value: Any, reads: frozenset[str]) -> Iterator[tuple[str, Any, frozenset[str]]]:
    """What is read of an object of a user's class: by who holds it, and by the functions by which that goes."""
    kind = type(value)
    reads = _followed(kind, reads.union(_ENTRIES))
    yield from _of_class(kind, reads)
    for name, one in list(vars(value).items()) if hasattr(value, "__dict__") else ():
        if name in reads:
            yield f".{name}", one, reads


def _followed(kind: type, reads: frozenset[str]) -> frozenset[str]:
    """These names, and those that functions of a class under such names read in turn."""
    functions = {
        name: _function_of(one)
        for base in reversed(kind.__mro__)
        if is_users_class(base)
        for name, one in vars(base).items()
    }
    ahead, known = [name for name in reads if name in functions], set(reads)
    while ahead:
        more = _names(functions[ahead.pop()]) - known
        known |= more
        ahead += [name for name in more if name in functions]
    return frozenset(known)


def _of_module(module: torch.nn.Module) -> Iterator[tuple[str, Any, frozenset[str]]]:
    """Weights and buffers, children, and what its functions read beside them."""
    held = dict(vars(module))
    if isinstance(module, torch.jit.ScriptModule):
        tables: Any = (torch.nn.Module.named_parameters(module), torch.nn.Module.named_buffers(module))
    else:
        tables = [dict(held.get(key) or {}).items() for key in ("_parameters", "_buffers", "_modules")]
        yield from _of_object(module, frozenset())
        plain = [(name, one) for name, one in held.items() if type(one) in SHOWN and not name.startswith("_")]
        if not is_users_class(type(module)):
            yield from ((f".{name}", one, frozenset()) for name, one in plain)
    for table in tables:
        yield from ((f".{name}", one, frozenset()) for name, one in table)
