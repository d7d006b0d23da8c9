"""A candidate in Python as it was at another revision: imported beside that of today, or made by the test of then."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_kgate.build.revisions.python.checkout import Checkout
from pytest_kgate.build.revisions.python.checkout import within
from pytest_kgate.build.revisions.python.custom_ops import none_defined_twice
from pytest_kgate.build.revisions.python.imports import is_unchanged
from pytest_kgate.build.revisions.python.imports import rests_on
from pytest_kgate.build.revisions.python.named import Name
from pytest_kgate.build.revisions.python.named import candidate_at
from pytest_kgate.build.revisions.python.named import file_of
from pytest_kgate.build.revisions.python.named import named_at
from pytest_kgate.build.revisions.python.namespace import Namespace
from pytest_kgate.build.revisions.python.namespace import namespace_of
from pytest_kgate.build.revisions.python.search import Listing
from pytest_kgate.build.revisions.then import Then
from pytest_kgate.build.revisions.tree import Tree
from pytest_kgate.errors import RevisionError
from pytest_kgate.problems.trees.foreign import name_of


def python_at(
    candidate: Callable[..., Any],
    tree: Tree,
    homes: Sequence[Mapping[str, Any]],
    test: Path,
    made: Callable[[Namespace], Any],
) -> Then:
    """What a candidate in Python was in a commit.

    What has a name in its module, or in one of `homes` (globals of modules), is what has this name there. What has
    none, such as a closure, a lambda, or what was compiled within the test, is `made` by the test as it was in the
    commit, in the file `test`. Raises `RevisionError` where it was not there, or can't be had.
    """
    checkout = Checkout.at(tree.root)
    names: list[Name] = []

    def note(name: Name, today: Any) -> Any:
        names.append(name)
        return today

    by_name = candidate_at(candidate, tree.root, homes, note) is not None
    own = [one.path for one in names] if by_name else _paths(tree.root, (test, file_of(candidate)))
    title = f"{name_of(candidate)} at {tree.title}"
    if is_unchanged(own, tree, checkout, anywhere=not by_name):
        return Then(None, title, _hash_of(own, tree.root, checkout.tracked, checkout.roots), is_same=True)
    namespace = namespace_of(tree, checkout)
    with none_defined_twice(tree.title):
        then = (
            candidate_at(candidate, tree.root, homes, lambda name, _: named_at(name, namespace.load, tree.title))
            if by_name
            else made(namespace)
        )
    if not callable(then):
        raise RevisionError(f"{title} can't be called.", "Nothing is followed over a change of what it is.")
    notes = tuple(f"git does not keep {one}: both sides use today's" for one in sorted(namespace.shared))
    return Then(
        then, title, _hash_of(own, namespace.folder, Listing.of(tree.files), checkout.roots), is_same=False, notes=notes
    )


def function_at(name: Name, tree: Tree) -> Then:
    """What has this name in a commit, where nothing of today's is to be imported in this process.

    Raises `RevisionError` where it was not there, or can't be had.
    """
    checkout = Checkout.at(tree.root)
    title = f"{name.dotted} at {tree.title}"
    if is_unchanged([name.path], tree, checkout):
        return Then(None, title, _hash_of([name.path], tree.root, checkout.tracked, checkout.roots), is_same=True)
    namespace = namespace_of(tree, checkout, shares=False)
    with none_defined_twice(tree.title):
        then = named_at(name, namespace.load, tree.title)
    return Then(
        then, title, _hash_of([name.path], namespace.folder, Listing.of(tree.files), checkout.roots), is_same=False
    )


def _hash_of(own: Sequence[str], folder: Path, listing: Listing, roots: Sequence[str]) -> str:
    """Of these files of a folder, and of those of the repository that they rest on there."""
    known: dict[str, bytes] = {}

    def read(path: str) -> bytes:
        known[path] = (folder / path).read_bytes()
        return known[path]

    rests_on(own, roots, listing, read)
    total = hashlib.sha256()
    for path, text in sorted(known.items()):
        total.update(f"{path}\0{len(text)}\0".encode() + text)
    return total.hexdigest()


def _paths(root: Path, files: Sequence[Path | None]) -> list[str]:
    return [path for file in files if (path := within(root, file)) is not None]
