"""The build cache: one directory an artefact, named by the hash of all that went into it.

An entry is complete or it is not there: it is built in a staging directory beside its place and renamed
into it, under a lock of its own that all processes of the host share. A process that is killed leaves a
staging directory, which the next builder of the same entry removes. What an entry holds is checked against
its manifest before use.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import ExitStack
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from filelock import Timeout

from pytest_kgate.build import includes
from pytest_kgate.errors import KgateError

LOCK_SECONDS = 1800.0
"""How long one process waits for another that builds the same thing: longer than any kernel here compiles."""

_MANIFEST = "build.json"


@dataclass(frozen=True)
class Key:
    """The name of an entry of the build cache."""

    name: str
    """For people: the implementation."""

    digest: str
    """Hex SHA-256 of everything that decides the artefact's bytes."""

    def directory(self) -> Path:
        readable = re.sub(r"[^A-Za-z0-9_.-]", "_", self.name)[:40]
        return root() / f"{readable}-{self.digest[:20]}"


@dataclass(frozen=True)
class Entry:
    """A finished artefact in the build cache."""

    path: Path
    """The file that was built."""

    facts: dict[str, Any]
    """What its builder wrote down about it; JSON."""


def root() -> Path:
    """`$KGATE_CACHE_DIR`, else `$XDG_CACHE_HOME/pytest-kgate`, else `~/.cache/pytest-kgate`.

    Not by `platformdirs`, which GPU hosts without network can't install.
    """
    if chosen := os.environ.get("KGATE_CACHE_DIR"):
        return _normal(Path(chosen).expanduser())
    if base := os.environ.get("XDG_CACHE_HOME"):
        return _normal(Path(base)) / "pytest-kgate"
    try:
        return Path.home() / ".cache" / "pytest-kgate"
    except RuntimeError as error:
        raise KgateError(
            "There is no home directory to keep the build cache in.", "Set KGATE_CACHE_DIR to a directory."
        ) from error


def digest(*parts: object) -> str:
    """Hex SHA-256 of JSON-able parts, each kept apart from the next."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def hash_sources(source: Path, include: Iterable[Path], within: Path | None = None) -> str:
    """Hex SHA-256 of a source and of every header that it includes by `#include "..."`, at any depth.

    A header that is found nowhere belongs to the toolchain, whose version is part of the key elsewhere. `within` is as
    in `find_header`.
    """
    total = hashlib.sha256()
    for name, _, content in includes.read_all(source, include, within):
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def lookup(key: Key) -> Entry | None:
    """The entry if it is there, whole and unchanged; takes no lock and writes nothing."""
    directory = key.directory()
    try:
        manifest = json.loads((directory / _MANIFEST).read_bytes())
        path = directory / manifest["file"]
        if manifest["key"] != key.digest or manifest["sha256"] != _hash_file(path):
            return None
        return Entry(path, manifest["facts"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def locked(keys: Iterable[Key]) -> Iterator[None]:
    """Hold the locks of these entries against all processes of the host, in an order that can't deadlock."""
    with ExitStack() as stack:
        for directory in sorted({key.directory() for key in keys}):
            with explained():
                directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = FileLock(f"{directory}.lock", timeout=LOCK_SECONDS)
                try:
                    stack.enter_context(lock)
                except Timeout as error:
                    raise KgateError(
                        f"Another process has held {directory}.lock for {LOCK_SECONDS / 60:.0f} minutes.",
                        "End the process that builds there, or set KGATE_CACHE_DIR to another directory.",
                    ) from error
                except NotImplementedError as error:
                    raise _unusable("its file system has no file locks") from error
        yield


@contextmanager
def staging(key: Key) -> Iterator[Path]:
    """A new directory to build the entry in; gone afterwards, published or not. Needs the entry's lock."""
    directory = key.directory()
    with explained():
        for stale in directory.parent.glob(f"{directory.name}.*.tmp"):
            shutil.rmtree(stale, ignore_errors=True)
        path = Path(tempfile.mkdtemp(prefix=f"{directory.name}.", suffix=".tmp", dir=directory.parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def publish(key: Key, built: Path, file: str, facts: dict[str, Any]) -> Entry:
    """Move a staging directory to its place, over whatever broken entry is there. Needs the entry's lock."""
    directory = key.directory()
    with explained():
        manifest = {"key": key.digest, "file": file, "sha256": _hash_file(built / file), "facts": facts}
        (built / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        if directory.exists():
            broken = Path(tempfile.mkdtemp(prefix=f"{directory.name}.", suffix=".tmp", dir=directory.parent))
            os.replace(directory, broken / "old")
            shutil.rmtree(broken, ignore_errors=True)
        os.replace(built, directory)
    return Entry(directory / file, facts)


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the file system refuses into an error that names the cache directory and the way out."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _unusable("its disk is full") from error
        raise _unusable(error.strerror or str(error)) from error


def _unusable(why: str) -> KgateError:
    return KgateError(
        f"The build cache in {root()} can't be used: {why}.",
        "Set KGATE_CACHE_DIR to a directory that can be written and has space.",
    )


def _normal(path: Path) -> Path:
    return Path(os.path.abspath(path))  # ninja writes paths without `..` to its log


def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
