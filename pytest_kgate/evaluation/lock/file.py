"""The lock file: JSON, sorted, so that a reviewer sees in a diff what has changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pytest_kgate.errors import UsageError
from pytest_kgate.system import json_file

_SCHEMA = "pytest-kgate/lock"
_VERSION = 1


def load(path: Path) -> dict[str, str]:
    """What is locked, by name; `UsageError` where the file is no lock."""
    todo = "Write one by `kgate lock FILE` on the machine that is to be held to."
    content = json_file.load(path, _SCHEMA, _VERSION, what="lock", todo=todo)
    locked = content.get("locked")
    if not isinstance(locked, dict) or not all(isinstance(value, str) for value in locked.values()):
        raise UsageError(f"{path} holds no lock.", todo)
    return locked


def save(path: Path, locked: Mapping[str, str]) -> None:
    """Write it in place of the file; `UsageError` where that is impossible."""
    content = {"schema": _SCHEMA, "version": _VERSION, "locked": dict(sorted(locked.items()))}
    json_file.save(path, json.dumps(content, indent=1) + "\n")
