"""Which file of a repository a module is, by its name: looked for in a list of files, without importing anything."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Listing:
    """The files of a commit, or those of a checkout that git keeps; paths are from the root, with slashes."""

    files: frozenset[str]
    folders: frozenset[str]
    """All that have files, the root as an empty path."""

    @classmethod
    def of(cls, files: Iterable[str]) -> Listing:
        """The listing of these files, with the folders that they are in."""
        known = frozenset(files)
        folders = {""}
        for path in known:
            while (path := posixpath.dirname(path)) not in folders:
                folders.add(path)
        return cls(known, frozenset(folders))


@dataclass(frozen=True)
class Found:
    """Where a module is in a repository."""

    file: str | None
    """None for a package without `__init__.py`."""
    folders: tuple[str, ...]
    """Of a package, where its modules are; empty for a module."""


def find(name: str, roots: Sequence[str], listing: Listing) -> Found | None:
    """The module of this dotted name, as Python's own search finds it in these folders; None where it is not there."""
    found, folders = None, tuple(roots)
    for part in name.split("."):
        found = _in_folders(folders, part, listing)
        if found is None:
            return None
        folders = found.folders
    return found


def _in_folders(folders: Sequence[str], part: str, listing: Listing) -> Found | None:
    parts_of_one = []
    for folder in folders:
        base = posixpath.join(folder, part)
        if f"{base}/__init__.py" in listing.files:
            return Found(f"{base}/__init__.py", (base,))
        if f"{base}.py" in listing.files:
            return Found(f"{base}.py", ())
        if base in listing.folders:
            parts_of_one.append(base)
    return Found(None, tuple(parts_of_one)) if parts_of_one else None
