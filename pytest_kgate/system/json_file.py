"""Files that are replaced as a whole, and those that verbs write with --json and read again, by schema and version.

What each of the package's files is, and which verb shows it, is a table here: whoever names the wrong one is told.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import stat
import tempfile
from codecs import BOM_UTF8
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pytest_kgate.errors import UsageError

KINDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "pytest-kgate/records": ("the records of a session", "kgate report"),
        "pytest-kgate/history": ("a history", "kgate history"),
        "pytest-kgate/search": ("the journal of a search", "kgate leaderboard"),
        "pytest-kgate/calibration": ("a calibration", "kgate calibrate --show --json"),
        "pytest-kgate/oracle": ("a run over the grid", "kgate oracle --from"),
        "pytest-kgate/integrity": ("a run of the catalogue of cheats", "kgate integrity --from"),
        "pytest-kgate/simulation": ("a simulation", "kgate simulate --from"),
        "pytest-kgate/search-simulation": ("a simulation of searches", "kgate simulate-search --from"),
        "pytest-kgate/recorded-space": ("a recorded search space", ""),
        "pytest-kgate/measurements": ("measurements of `kgate measure`", ""),
        "pytest-kgate/evaluation": ("an answer of `kgate evaluate`", ""),
        "pytest-kgate/sanitizer": ("the findings of `kgate sanitize`", ""),
        "pytest-kgate/machine": ("the findings of `kgate system show`", ""),
        "pytest-kgate/ranking": ("an answer of `kgate rank`", ""),
        "pytest-kgate/lock": ("a lock", ""),
        "pytest-kgate/champions": ("champions", ""),
    }
)
"""By schema, what such a file holds, and the command that shows it where its path follows; empty where none does."""

_HEAD = 400
"""Bytes at the start of a file, which name its schema."""

_SCHEMA = re.compile(rb'"schema": ?"(pytest-kgate/[a-z-]+)"')


def other_kind(path: Path, content: bytes, schema: str, *, what: str, todo: str) -> UsageError | None:
    """The error for a file of this package's that is of another schema, also where it is cut off; None for all else.

    It says what the file holds, and that this is no `what`; which verb shows it, and `todo`.
    """
    head = content[:_HEAD].removeprefix(BOM_UTF8).lstrip()
    found = _SCHEMA.search(head) if head.startswith(b"{") else None
    name = found[1].decode() if found else ""
    if name == schema or name not in KINDS:
        return None
    holds, verb = KINDS[name]
    shown = f"`{verb} {shlex.quote(str(path))}` shows it. " if verb else ""
    return UsageError(f"{path} holds {holds}, and no {what}.", f"{shown}{todo}")


def load(path: Path, schema: str, version: int, *, what: str, todo: str) -> dict[str, Any]:
    """The content of a file of this schema and version.

    Raises `UsageError` where it is none: that it holds no `what`, and `todo`.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}.", todo) from error
    if (other := other_kind(path, text, schema, what=what, todo=todo)) is not None:
        raise other
    try:
        content = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON, or is cut off: {error}.", todo) from error
    if not isinstance(content, dict) or content.get("schema") != schema:
        raise UsageError(f"{path} holds no {what}.", todo)
    if content.get("version") != version:
        raise UsageError(
            f"{path} is of version {content.get('version')!r}; this pytest-kgate reads version {version}.", todo
        )
    return content


def save(path: Path, text: str) -> None:
    """Write what a verb was asked to write, in place of the file; `UsageError` where that is impossible."""
    try:
        replace(path, text)
    except OSError as error:
        raise UsageError(
            f"{path} can't be written: {error.strerror}.", "Check the path and its permissions."
        ) from error


def replace(path: Path, text: str, encoding: str = "ascii") -> None:
    """Write text in place of the file: a reader, a killed run or a full disk finds either the old one or the new one.

    A device, a pipe, or what else is no regular file is written to and stays what it is: root could replace /dev/null.
    A link stays one, and its target is replaced, which keeps its permissions. Line ends stay as they are in the text.
    Raises OSError.
    """
    if path.exists() and not path.is_file():
        path.write_text(text, encoding=encoding, newline="")
        return
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "w", encoding=encoding, newline="") as file:
            file.write(text)
        os.chmod(name, stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
