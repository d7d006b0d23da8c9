"""Files that are replaced as a whole, and those that verbs write with --json and read again, by schema and version."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from pytest_kgate.errors import UsageError


def load(path: Path, schema: str, version: int, *, what: str, todo: str) -> dict[str, Any]:
    """The content of a file of this schema and version.

    Raises `UsageError` where it is none: that it holds no `what`, and `todo`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}.", todo) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON, or is cut off: {error}.", todo) from error
    if not isinstance(content, dict) or (content.get("schema"), content.get("version")) != (schema, version):
        raise UsageError(f"{path} holds no {what}.", todo)
    return content


def save(path: Path, text: str) -> None:
    """Write what a verb was asked to write, in place of the file; `UsageError` where that is impossible."""
    try:
        replace(path, text)
    except OSError as error:
        raise UsageError(
            f"{path} can't be written: {error.strerror}.", "Check the path and its permissions."
        ) from error


def replace(path: Path, text: str) -> None:
    """Write ASCII text in place of the file: a reader, or a killed run, finds either the old one or the new one.

    A device, a pipe, or what else is no regular file is written to and stays what it is: root could replace /dev/null.
    A link stays one, and its target is replaced. Raises OSError.
    """
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="ascii")
        return
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
