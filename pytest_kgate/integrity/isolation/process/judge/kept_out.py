"""Keeps the file of an isolated candidate out of the judging process, whatever name it would be imported by.

The file lies beside tests, and so on `sys.path`: one that is called `rich.py` would be what the judge imports as
`rich`. From `keep_out` on, imports go past it to the module that is meant.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from pytest_kgate.errors import UsageError
from pytest_kgate.system.provenance.installed import is_users

_READ_AT_START = frozenset({"conftest", "sitecustomize", "usercustomize"})
"""Modules that Python and pytest import from any folder on their way."""


class _Past(MetaPathFinder):
    """Finds modules where they are but for some files; leaves it to the others where none of these is in the way."""

    def __init__(self) -> None:
        self.files: set[Path] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `PathFinder` does without the files' folders; raises `ModuleNotFoundError` where nothing else is there."""
        last = name.rpartition(".")[2]
        if not any(last in (file.stem, file.parent.name) for file in self.files):
            return None
        found = PathFinder.find_spec(name, path, target)
        if found is None or not found.origin or (file := Path(found.origin).resolve()) not in self.files:
            return None
        spec = PathFinder.find_spec(name, _without(file, sys.path if path is None else path), target)
        if spec is None:
            raise ModuleNotFoundError(f"{file} is an isolated candidate's, and is not imported here", name=name)
        return spec


_PAST = _Past()


def keep_out(file: str) -> None:
    """From now on, this process does not import the file. Raises `UsageError` where it has done so already."""
    place = Path(file).resolve()
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        if isinstance(origin, str) and origin.endswith(place.name) and Path(origin).resolve() == place:
            raise UsageError(
                f"{file} can't be isolated: the process that judges it has imported it as {name}, and run it.",
                "Put the candidate into a file of its own, under a name that no other module has.",
            )
    _go_past(place)


def keep_out_module(name: str) -> None:
    """The same of a candidate's module, where its package hides another one; tests may import what hides none."""
    package = name.partition(".")[0]
    found = PathFinder.find_spec(package)
    if found is not None and found.origin and is_users(found.origin):
        place = Path(found.origin).resolve()
        if PathFinder.find_spec(package, _without(place, sys.path)) is not None:
            _go_past(place)


def keep_out_named(candidate: str, folder: Path) -> None:
    """The same of a candidate as --kgate-candidate names it, from this folder; of a compiled one, nothing."""
    where = candidate if candidate.endswith(".py") else candidate.rpartition(":")[0]
    if where.endswith(".py"):
        keep_out(str(folder / where))
    elif where:
        keep_out_module(where)


def _go_past(place: Path) -> None:
    _PAST.files.add(place)
    if _PAST not in sys.meta_path:
        sys.meta_path.insert(0, _PAST)


def _without(file: Path, path: Sequence[str]) -> list[str]:
    """The folders in which a module's file is not found."""
    folder = file.parent.parent if file.stem == "__init__" else file.parent
    return [one for one in path if Path(one).resolve() != folder]


def demand_own_name(file: str, folder: Path) -> None:
    """Raise `UsageError` where a process that is started in this folder would import the file as another module.

    That is before anything of this package can keep it out.
    """
    place = Path(file).resolve()
    installed = [one for one in sys.path if one.endswith(("site-packages", "dist-packages"))]
    if place.parent != folder.resolve():
        return
    hidden = place.stem in sys.stdlib_module_names or PathFinder.find_spec(place.stem, installed) is not None
    if hidden or place.stem in _READ_AT_START:
        raise UsageError(
            f"{file} can't be isolated under this name: the process that judges it would import it as {place.stem}.",
            "Give it a name that no other module has.",
        )
