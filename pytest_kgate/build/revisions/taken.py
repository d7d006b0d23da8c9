"""Files of a commit in the build cache: taken by `git archive`, so that no checkout is touched."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

from pytest_kgate.build.compiler import cache
from pytest_kgate.build.revisions.tree import Tree
from pytest_kgate.errors import RevisionError
from pytest_kgate.system.provenance import git

_LIST = "files.txt"
"""Of an entry: which files it has, a line each."""
_TREE = "tree"
"""Of an entry: the folder that has them."""


def taken(tree: Tree, paths: Sequence[str]) -> Path:
    """The folder that has these files, by their paths from the repository's root; the first one gives it its name.

    Files that were taken before are taken from the cache, where they are still as they were. Raises `RevisionError`
    where git gives them not.
    """
    folder, digests = _kept(f"{Path(paths[0]).stem}-at", tree, sorted(paths))
    left_out = sorted(set(paths) - set(digests))
    if left_out:
        raise RevisionError(
            f"git archives no {left_out[0]} at {tree.title}.",
            "An attribute `export-ignore` in .gitattributes leaves it out.",
        )
    return folder


def taken_whole(tree: Tree) -> Path:
    """The folder that has all files of the commit but links, and those that .gitattributes leaves out of archives.

    Raises `RevisionError` where git gives them not.
    """
    return _kept(f"{tree.root.name}-at", tree, [])[0]


def _kept(name: str, tree: Tree, paths: Sequence[str]) -> tuple[Path, Mapping[str, str]]:
    """The folder of these files, or of all where none is named, with the digests of those that it has."""
    key = cache.Key(name, cache.digest("revision", tree.commit, paths))
    digests = _whole(key)
    if digests is None:
        with cache.locked([key]):
            digests = _whole(key)
            if digests is None:
                with cache.staging(key) as folder:
                    digests = _extract(tree, paths, folder / "archive.tar", folder / _TREE)
                    (folder / _LIST).write_text("".join(f"{path}\n" for path in digests), encoding="utf-8")
                    cache.publish(key, folder, _LIST, {"commit": tree.commit, "files": digests})
    return key.directory() / _TREE, digests


def _whole(key: cache.Key) -> Mapping[str, str] | None:
    """The digests of an entry's files, where they are still as they were; else None."""
    entry = cache.lookup(key)
    if entry is None:
        return None
    digests: Mapping[str, str] = entry.facts["files"]
    try:
        found = {path: _digest((key.directory() / _TREE / path).read_bytes()) for path in digests}
    except OSError:
        return None
    return digests if found == digests else None


def _extract(tree: Tree, paths: Sequence[str], archive: Path, folder: Path) -> dict[str, str]:
    asked = ("archive", "--format=tar", f"--output={archive}", tree.commit, "--", *paths)
    if git.ask(tree.root, "--literal-pathspecs", *asked) is None:
        raise RevisionError(
            f"git gives no archive of {paths[0] if paths else tree.root.name} at {tree.title}.",
            "Look whether its objects are here: `git fsck`; a partial clone may have to fetch them.",
        )
    digests = {}
    wanted = frozenset(paths or tree.files)
    with tarfile.open(archive) as members, cache.explained():
        for member in members:
            if member.name in wanted and (content := members.extractfile(member)) is not None:
                place, data = folder / member.name, content.read()
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
                digests[member.name] = _digest(data)
    archive.unlink()
    return digests


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
