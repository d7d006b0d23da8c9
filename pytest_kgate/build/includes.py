"""Which headers a source includes, found as the compiler finds them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"', re.MULTILINE)
"""A line `#include "name"`; headers in angle brackets belong to the toolchain."""


_SUFFIXES = (".h", ".hh", ".hpp", ".hxx", ".cuh", ".inl", ".inc", ".cu", ".cpp", ".cc", ".cxx")
_MOST_BYTES = 2**22
"""Of what a source that is not trusted may include: a file by its name a header, of a size that a header has."""


def find_header(name: str, beside: Path, include: Iterable[Path], within: Path | None = None) -> Path | None:
    """The header that `#include "name"` means in a file in the folder `beside`, or None if it is the toolchain's.

    `within` is the folder of a source that is not trusted: files that are neither in there nor in `include`, hidden
    ones, and those that are no headers by their names are then taken for the toolchain's. They are not opened.
    """
    include = tuple(include)
    for directory in (beside, *include):
        path = directory / name
        if path.is_file():
            return path if within is None or _is_own(path, (within, *include)) else None
    return None


def _is_own(path: Path, folders: Iterable[Path]) -> bool:
    path = path.resolve()
    inside = [path.relative_to(one) for folder in folders if path.is_relative_to(one := folder.resolve())]
    shown = [one for one in inside if not any(part.startswith(".") for part in one.parts)]
    return bool(shown) and path.suffix in _SUFFIXES and path.stat().st_size <= _MOST_BYTES


def own_files(source: Path, include: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """What a source that is not trusted may read: itself and its headers; and the names of those that it may not."""
    include, files, refused = tuple(include), [source.resolve()], []
    for path in files:
        for name in INCLUDE.findall(path.read_text(encoding="utf-8", errors="replace")):
            header = find_header(name, path.parent, include, source.parent)
            if header is None and find_header(name, path.parent, include) is not None:
                refused.append(name)
            elif header is not None and header.resolve() not in files:
                files.append(header.resolve())
    return files, list(dict.fromkeys(refused))


def read_all(source: Path, include: Iterable[Path], within: Path | None = None) -> Iterator[tuple[str, Path, bytes]]:
    """A source and every header that it includes, at any depth: the name in the `#include`, its path, its content.

    Headers are looked for as the compiler does: beside the including file, then in `include`; `within` is as in
    `find_header`. Raises `OSError` for a file that can't be read.
    """
    include = tuple(include)
    seen = {source.resolve()}
    pending = [(source.name, source)]
    while pending:
        name, path = pending.pop()
        content = path.read_bytes()
        yield name, path, content
        for wanted in INCLUDE.findall(os.fsdecode(content)):
            header = find_header(wanted, path.parent, include, within)
            if header is not None and header.resolve() not in seen:
                seen.add(header.resolve())
                pending.append((wanted, header))


def expand(source: Path, include: Iterable[Path], within: Path | None = None) -> str:
    """The text of a source with that of its headers in the place of their `#include` lines, each header once.

    So is its order that in which the compiler reads. Conditions are not evaluated. `within` is as in `find_header`.
    Raises `OSError` for a file that can't be read.
    """
    include = tuple(include)
    seen = {source.resolve()}

    def text_of(path: Path) -> str:
        def included(match: re.Match[str]) -> str:
            header = find_header(match[1], path.parent, include, within)
            if header is None or header.resolve() in seen:
                return match[0]
            seen.add(header.resolve())
            return text_of(header)

        return INCLUDE.sub(included, path.read_text(encoding="utf-8", errors="replace"))

    return text_of(source)
