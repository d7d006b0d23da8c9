"""Git repositories as users have them, made within a test: the same files give the same commits."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "t"), ("EMAIL", "t@example.org"), ("DATE", "2026-01-01T00:00:00Z"))
}


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    environment = {**os.environ, **_IDENTITY, "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.rstrip()


def commit(folder: Path, **files: str) -> str:
    """Write these files, whose names have `__` for the dot, and commit all that is in the folder; returns the hash."""
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", " ".join(files) or "more")
    return git(folder, "rev-parse", "HEAD")
