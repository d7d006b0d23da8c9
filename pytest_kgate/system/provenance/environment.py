"""What a reader of a record must know to repeat it: versions, the machine, the source revision."""

from __future__ import annotations

import functools
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest_kgate
from pytest_kgate.system.provenance import git

_PACKAGES = ("torch", "numpy", "scipy", "pytest", "triton")


def session_environment(root: Path) -> dict[str, Any]:
    """Facts that hold for the whole session; `root` is where the tests are, for their git revision."""
    return {
        "kgate": pytest_kgate.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "ci": bool(os.environ.get("CI")),
        "packages": session_packages(),
        "git": _git_revision(root),
    }


def session_packages() -> dict[str, str]:
    """The versions of the packages that decide what is measured; those that are not installed are left out."""
    return {name: version for name in _PACKAGES if (version := _version(name))}


@functools.cache
def _version(package: str) -> str | None:
    """That of the package as it was when first asked: to read one takes milliseconds."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def _git_revision(root: Path) -> dict[str, Any] | None:
    commit = git.word(root, "rev-parse", "HEAD")
    return None if commit is None else {"commit": commit, "dirty": git.is_dirty(root)}  # None: no git, or no checkout
