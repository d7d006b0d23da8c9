"""Ways past the names of functions: operators of PyTorch that Python code has taken over, and modes that it left open.

An operator's kernel can be replaced in PyTorch's dispatcher (`torch.library`), where no name of Python changes. A mode
that is open sends every operator, or every function, through Python code first. Either changes what the reference and
the comparison do. Imports no torch: a session without it has none of these.
"""

from __future__ import annotations

import os
import re
import sys
from types import ModuleType
from typing import Any

_HARMLESS_KEYS = ("Meta",)
"""Dispatch keys of kernels that compute shapes only; PyTorch registers more of them as it goes."""

_DEFAULT_DEVICE = "torch.utils._device"
"""The module of the mode behind `torch.set_default_device`, which is a setting like others."""


class Operators:
    """The operators of PyTorch that Python code implements, as they were when its import ended."""

    def __init__(self) -> None:
        self._before: frozenset[str] = frozenset()
        self._folder = ""

    def remember(self, torch: ModuleType) -> None:
        """Take in the operators that PyTorch itself has registered."""
        self._folder = os.path.dirname(str(torch.__file__)) + os.sep
        self._before = frozenset(_registered())

    def changed(self) -> list[str]:
        """Operators that others have registered since, and open modes: such as `the operator aten::mm of CPU`."""
        found = [f"all operators, by the open mode {name}" for name in _open_modes()]
        for entry in _registered() - self._before if self._folder else ():
            namespace, _, rest = entry.partition("/")
            operator, _, key = rest.rpartition("/")
            if namespace == "aten" and key not in _HARMLESS_KEYS and not self._by_torch(operator, key):
                found.append(f"the operator aten::{operator} of {key}")
        return sorted(found)

    def _by_torch(self, operator: str, key: str) -> bool:
        """Whether the kernel's code is PyTorch's own, some of which it registers late."""
        dump = sys.modules["torch"]._C._dispatch_dump(f"aten::{operator}")
        where = re.search(rf"^{key}(?:\[alias\])?: registered at (.*):\d+ ::", dump, re.MULTILINE)
        return where is not None and where[1].startswith(self._folder)


def _open_modes() -> list[str]:
    """Names of the modes that are open in this thread, but that of a default device."""
    found: list[Any] = []
    for name, stack in (
        ("torch.utils._python_dispatch", "_get_current_dispatch_mode_stack"),
        ("torch.overrides", "_get_current_function_mode_stack"),
    ):
        read = getattr(sys.modules.get(name), stack, None)
        found += read() if read is not None else ()
    return [type(mode).__name__ for mode in found if type(mode).__module__ != _DEFAULT_DEVICE]


def _registered() -> set[str]:
    """Such as `aten/mm/CPU`; empty where this version of PyTorch does not tell."""
    found: set[str] = getattr(sys.modules.get("torch.library"), "_impls", set())
    return found
