"""Whose code a file holds: that of an installed package, or a user's."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

import pytest_kgate


def is_users(file: str | None) -> bool:
    """Whether a module of this file is a user's: of no installed package, and not of this one."""
    return file is not None and _is_users(file if os.path.isabs(file) else os.path.abspath(file))


def is_users_class(kind: type) -> bool:
    """Whether a class is of a user's module, as `is_users` has it of the module's file."""
    return is_users(getattr(sys.modules.get(kind.__module__), "__file__", None))


@functools.cache  # a gate asks for the file of every module that is loaded
def _is_users(file: str) -> bool:
    return not os.path.abspath(file).startswith(_installed())


@functools.cache
def _installed() -> tuple[str, ...]:
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {str(Path(pytest_kgate.__file__).parent)}
    folders |= {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    return tuple(os.path.abspath(folder) + os.sep for folder in folders if folder)


def is_installed_class(kind: type, members: Iterable[str]) -> bool:
    """Whether a class is one of an installed package's, and those of its members as well that are written in Python."""
    parts = kind.__module__.split(".")
    homes = (sys.modules.get(".".join(parts[:length])) for length in range(len(parts), 0, -1))
    file = next((file for home in homes if (file := getattr(home, "__file__", None))), None)
    if file is None or is_users(file):
        return False
    found = (inspect.getattr_static(kind, name, None) for name in members)
    codes = (getattr(getattr(one, "fget", one), "__code__", None) for one in found)
    return not any(is_users(code.co_filename) for code in codes if code is not None)
