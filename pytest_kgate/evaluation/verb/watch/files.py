"""The files that decide what a test judges, and whether one of them was saved."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from pytest_kgate.build import includes
from pytest_kgate.build.registry import csrc_directory
from pytest_kgate.search.journal.champions import FILE_NAME

BESIDE = frozenset((".py", ".cu", ".cuh", ".cpp", ".cc", ".cxx", ".h", ".hpp", ".toml", ".yaml", ".yml"))
"""Kinds of files beside a test or a kernel that are watched though no run has shown yet that they are read: a header
that does not exist yet, a candidate that is given by name, a grid of shapes."""

ABOVE = ("conftest.py", "pyproject.toml", "pytest.ini", "tox.ini", "setup.cfg", FILE_NAME)
"""Files that count for all tests below their folder: fixtures, options, chosen knobs."""

Stamps: TypeAlias = "Mapping[Path, tuple[int, int, int] | None]"
"""Time, size and inode of each file; None where there is none. Editors write anew or put another file in the place."""


def beside(folders: Iterable[Path]) -> set[Path]:
    """The files in these folders that a test or a kernel there may read."""
    found: set[Path] = set()
    for folder in folders:
        with contextlib.suppress(OSError):
            found.update(path for path in folder.iterdir() if path.suffix in BESIDE and not path.name.startswith("."))
    return found


def above(folder: Path) -> set[Path]:
    """Files of this folder and of all that hold it that count for its tests, whether they are there or not."""
    return {one / name for one in (folder, *folder.parents) for name in ABOVE}


def with_headers(source: Path) -> set[Path]:
    """A kernel's source and the headers that it includes; those that can be found, if one can't be read."""
    found = {source}
    with contextlib.suppress(OSError):
        for _, path, _ in includes.read_all(source, (csrc_directory(),)):
            found.add(path)
    return found


def stamps(paths: Iterable[Path]) -> Stamps:
    """What tells one state of these files from another, without reading them."""
    return {path: _stamp(path) for path in paths}


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def changed(before: Stamps, now: Stamps) -> list[Path]:
    """The files that are not as they were: saved, new or gone."""
    return sorted(path for path in {*before, *now} if before.get(path) != now.get(path))


def settled(look: Callable[[], Stamps], pause: Callable[[], None]) -> Stamps:
    """What a look shows, once two in a row show the same: an editor may be in the middle of writing."""
    before = look()
    while True:
        pause()
        now = look()
        if now == before:
            return now
        before = now
