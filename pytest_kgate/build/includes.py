"""Which headers a source includes, found as the compiler finds them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"', re.MULTILINE)
"""A line `#include "name"`; headers in angle brackets belong to the toolchain."""


def find_header(name: str, beside: Path, include: Iterable[Path]) -> Path | None:
    """The header that `#include "name"` means in a file in the folder `beside`, or None if it is the toolchain's."""
    for directory in (beside, *include):
        if (directory / name).is_file():
            return directory / name
    return None


def expand(source: Path, include: Iterable[Path]) -> str:
    """The text of a source with that of its headers in the place of their `#include` lines, each header once.

    So is its order that in which the compiler reads. Conditions are not evaluated. Raises `OSError` for a file that
    can't be read.
    """
    include = tuple(include)
    seen = {source.resolve()}

    def text_of(path: Path) -> str:
        def included(match: re.Match[str]) -> str:
            header = find_header(match[1], path.parent, include)
            if header is None or header.resolve() in seen:
                return match[0]
            seen.add(header.resolve())
            return text_of(header)

        return INCLUDE.sub(included, path.read_text(encoding="utf-8", errors="replace"))

    return text_of(source)
