"""Which files of a repository Python code rests on, by its import statements; nothing is imported."""

from __future__ import annotations

import ast
import os
import posixpath
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

from pytest_kgate.build.revisions.python.checkout import Checkout
from pytest_kgate.build.revisions.python.search import Listing
from pytest_kgate.build.revisions.python.search import find
from pytest_kgate.build.revisions.tree import Tree
from pytest_kgate.system.provenance import git


def is_unchanged(starts: Iterable[str], tree: Tree, checkout: Checkout, *, anywhere: bool = False) -> bool:
    """Whether these files, and all that they rest on, are on disk as they were in the commit.

    What counts: the modules of the repository that they import, at any depth and also within functions, with the
    packages that these are in; and all files other than Python's in the folders of those modules or below, or
    `anywhere` in the repository, since they may be read. Modules whose name is made at run time are not found so.
    """
    listed = git.ask(tree.root, "diff", "--name-only", "--no-renames", "-z", tree.commit, "--")
    if listed is None:
        return False

    def read(path: str) -> bytes:
        return (tree.root / path).read_bytes()

    files = rests_on(starts, checkout.roots, checkout.tracked, read)
    if any(path not in tree.modes for path in files):
        return False
    changed = {os.fsdecode(path) for path in listed.split(b"\0") if path}
    folders = {""} if anywhere else {posixpath.dirname(path) for path in files}
    beside = (path for path in changed if not path.endswith(".py"))
    return not (files & changed or any(_is_below(path, folder) for path in beside for folder in folders))


def rests_on(
    starts: Iterable[str], roots: Sequence[str], listing: Listing, read: Callable[[str], bytes]
) -> frozenset[str]:
    """The files `starts` and all that they import, at any depth; modules are looked for in the folders `roots`."""
    found: dict[str, None] = dict.fromkeys(starts)
    left = list(found)
    while left:
        path = left.pop()
        try:
            statements = ast.parse(read(path))
        except (OSError, ValueError, SyntaxError):  # it can't be imported either
            continue
        for one in (*_packages_of(path, listing), *_imported(statements, path, roots, listing)):
            if one not in found:
                found[one] = None
                left.append(one)
    return frozenset(found)


def _imported(statements: ast.AST, path: str, roots: Sequence[str], listing: Listing) -> Iterator[str]:
    for node in ast.walk(statements):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of(alias.name, roots, listing)
        elif isinstance(node, ast.ImportFrom):
            places = tuple(roots)
            if node.level:
                folder = posixpath.dirname(path)
                for _ in range(node.level - 1):
                    folder = posixpath.dirname(folder)
                places = (folder,)
            base = f"{node.module}." if node.module else ""
            for alias in node.names:  # each of which may be a module
                yield from _files_of(f"{base}{alias.name}", places, listing)


def _files_of(name: str, roots: Sequence[str], listing: Listing) -> Iterator[str]:
    """Of a module, and of the packages that it is in; of the packages alone where there is no such module."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        found = find(".".join(parts[:length]), roots, listing)
        if found is None:
            return
        if found.file is not None:
            yield found.file


def _packages_of(path: str, listing: Listing) -> Iterator[str]:
    folder = posixpath.dirname(path)
    while folder and (package := f"{folder}/__init__.py") in listing.files:
        yield package
        folder = posixpath.dirname(folder)


def _is_below(path: str, folder: str) -> bool:
    return not folder or path.startswith(f"{folder}/")
