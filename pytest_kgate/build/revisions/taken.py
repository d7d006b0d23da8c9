"""Files of a commit in the build cache: taken by `git archive`, so that no checkout is touched."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

from pytest_kgate.build.compiler import cache
from pytest_kgate.build.revisions.tree import Tree
from pytest_kgate.errors import RevisionError
from pytest_kgate.system.provenance import git


def taken(tree: Tree, paths: Sequence[str]) -> Path:
    """The folder that has these files, by their paths from the repository's root; the first one gives it its name.

    Files that were taken before are taken from the cache, where they are still as they were. Raises `RevisionError`
    where git gives them not.
    """
    key = cache.Key(f"{Path(paths[0]).stem}-at", cache.digest("revision", tree.commit, sorted(paths)))
    if _is_whole(key, paths):
        return key.directory()
    with cache.locked([key]):
        if not _is_whole(key, paths):
            with cache.staging(key) as folder:
                digests = _extract(tree, paths, folder)
                cache.publish(key, folder, paths[0], {"commit": tree.commit, "files": digests})
    return key.directory()


def _is_whole(key: cache.Key, paths: Sequence[str]) -> bool:
    entry = cache.lookup(key)
    if entry is None:
        return False
    try:
        found = {path: _digest((key.directory() / path).read_bytes()) for path in paths}
    except OSError:
        return False
    return found == entry.facts.get("files")


def _extract(tree: Tree, paths: Sequence[str], folder: Path) -> dict[str, str]:
    archive = git.ask(tree.root, "--literal-pathspecs", "archive", "--format=tar", tree.commit, "--", *paths)
    if archive is None:
        raise RevisionError(
            f"git gives no archive of {paths[0]} at {tree.title}.",
            "Look whether its objects are here: `git fsck`; a partial clone may have to fetch them.",
        )
    digests = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as members, cache.explained():
        for member in members:
            if member.name in paths and (content := members.extractfile(member)) is not None:
                place, data = folder / member.name, content.read()
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
                digests[member.name] = _digest(data)
    left_out = sorted(set(paths) - set(digests))
    if left_out:
        raise RevisionError(
            f"git archives no {left_out[0]} at {tree.title}.",
            "An attribute `export-ignore` in .gitattributes leaves it out.",
        )
    return digests


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
