"""Whether a record was measured of what lies in this checkout: its commit, and the files that the call rested on."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.build.compiler.cache import hash_sources
from pytest_kgate.build.registry import csrc_directory
from pytest_kgate.build.registry import implementations
from pytest_kgate.build.registry import is_source
from pytest_kgate.errors import UsageError
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.system.provenance import git
from pytest_kgate.system.provenance.files import digest_of
from pytest_kgate.system.provenance.files import resolved

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

_SHOWN = 3
"""Changed files that a complaint names."""


@dataclass(frozen=True)
class Checkout:
    """The checkout under test."""

    root: Path
    head: str
    """The full hash of its commit."""
    receipts: frozenset[str]
    """Paths of the records and signatures at hand, from the root: a commit that adds them is after what it attests."""

    @classmethod
    def around(cls, folder: Path, receipts: list[Path]) -> Checkout:
        """The checkout that a folder is in; raises `UsageError` where it is in none."""
        root = git.top(folder)
        head = None if root is None else git.commit_of(root, "HEAD")
        if root is None or head is None:
            said = git.complaint(folder)
            owner = " Of a folder of another user's: `git config --global --add safe.directory PATH`."
            raise UsageError(
                f"{folder.resolve()} is in no git checkout: {said}.",
                "Signed records are held against the checkout that they are said to be of: run `kgate verify` in it."
                f"{owner if 'ownership' in said else ''}",
            )
        paths = [place for path in receipts if (place := place_in(root, path)) is not None]
        return cls(root, head, frozenset(paths))

    def complaints(self, record: Record) -> Iterator[str]:
        """Why the record is not of this checkout, a clause each."""
        measured = record["environment"].get("git") or {}
        commit = str(measured.get("commit") or "")
        if not commit:
            yield "it names no commit: it was measured outside of a git checkout"
        elif measured.get("dirty") is not False:
            yield f"it was measured with changes that were not committed, at {commit[:12]}"
        else:
            yield from self._of_commit(commit)
        sources = record.get("sources", {})
        if not self._names_its_test(record["test"], sources):
            yield "it does not name the file of its test among those that it was measured of"
        for path, digest in sources.items():
            if digest_of(self.root, path) != digest:
                yield f"{path} is another here than the one that was measured"
        yield from self._of_build(record)

    def _names_its_test(self, test: str, sources: Mapping[str, str]) -> bool:
        """Node ids begin in pytest's root folder, which may lie within the repository or above it; sources in the
        repository's. Of a file that is a link, the sources have what it leads to."""
        file = test.partition("::")[0].removeprefix("./")
        while file.startswith("../"):
            file = file.removeprefix("../")
        for path in sources:
            if path == file or path.endswith(f"/{file}") or file.endswith(f"/{path}"):
                return True
        place = resolved(self.root / file)
        return place is not None and any(place == resolved(self.root / path) for path in sources)

    def _of_commit(self, commit: str) -> Iterator[str]:
        if commit == self.head:
            return
        changed = self._changed_since(commit)
        if changed is None:
            shallow = "; this clone is shallow, and one with its whole history may have it" if self._shallow else ""
            yield f"it was measured at {commit[:12]}, which is not in this repository{shallow}"
        elif changed:
            others = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
            which = f"{', '.join(changed[:_SHOWN])}{others}"
            yield f"it was measured at {commit[:12]}, and this is {self.head[:12]}, where other files are: {which}"

    def _changed_since(self, commit: str) -> tuple[str, ...] | None:
        return _changed(self.root, commit, self.head, self.receipts)

    @functools.cached_property
    def _shallow(self) -> bool:
        return git.is_shallow(self.root)

    def _of_build(self, record: Record) -> Iterator[str]:
        """By the hash of what was compiled: of a file of this repository, or of the plugin's own kernels."""
        candidate = record["candidate"]
        recorded, implementation = candidate["source_hash"], candidate["implementation"]
        source = next((path for path in record.get("sources", {}) if is_source(path)), None)
        if recorded is None:
            if source is not None and VERDICTS[record["verdict"]].passes:
                yield f"it does not say what its candidate was built of, beside {source}"
        elif source is not None:
            if recorded != _hash_of(self.root / source):
                yield f"its candidate was not built from {source} and its headers, as they are here"
        elif implementation is None:
            yield "its candidate was built from a source that it does not name"
        elif implementation in (known := implementations()):
            if recorded != _hash_of(csrc_directory() / known[implementation].source):
                yield f"its candidate was not built from the {implementation} of this pytest-kgate, which verifies"
        else:
            yield f"its candidate was built from {implementation}, which this pytest-kgate has not"


def _hash_of(source: Path) -> str | None:
    try:
        return hash_sources(source, (csrc_directory(),))
    except (OSError, ValueError):
        return None


def place_in(root: Path, path: Path) -> str | None:
    """A path as the repository has it, from its root; None where it is outside.

    Links are not followed: the change could make one that leads to another file.
    """
    place = Path(os.path.normpath(Path.cwd().resolve() / path))
    return place.relative_to(root.resolve()).as_posix() if place.is_relative_to(root.resolve()) else None


@functools.cache
def _changed(root: Path, commit: str, head: str, receipts: frozenset[str]) -> tuple[str, ...] | None:
    # Asked once for all records of a file. What is no hash would be taken for a flag or a branch.
    whole = len(commit) >= 40 and set(commit) <= set("0123456789abcdef")
    # Git would compare a tree as well.
    paths = git.changed(root, commit, head) if whole and git.commit_of(root, commit) == commit else None
    return None if paths is None else tuple(path for path in paths if path not in receipts)
