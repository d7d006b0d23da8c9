"""A source and the headers that it includes, as one commit has them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from pytest_kgate.build.includes import INCLUDE
from pytest_kgate.build.revisions.tree import Tree


def files_of(tree: Tree, source: str, include: Iterable[str]) -> list[str]:
    """The paths of a source and of all its headers that the commit has, looked for as the compiler does.

    `include` are the folders searched after that of the including file. A header that is in none of them belongs to
    the toolchain, or is one of today's csrc. Raises `RevisionError` as `Tree.has` does.
    """
    include, found = tuple(include), [source]
    for path in found:
        for name in INCLUDE.findall(tree.text(path)):
            places = (posixpath.normpath(posixpath.join(at, name)) for at in (posixpath.dirname(path), *include))
            header = next((place for place in places if tree.has(place)), None)
            if header is not None and header not in found:
                found.append(header)
    return found
