"""Git, asked about the repository of a folder. No question changes a checkout, its index or its branches."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pytest_kgate.errors import UsageError

_SECONDS = 60.0
"""After which git counts as hung."""

_OF_A_HOOK = ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")
"""Set where git runs a hook, these would make it look at another repository than that of the folder."""


def run(
    folder: Path, *arguments: str, given: bytes = b"", variables: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[bytes] | None:
    """Run git in a folder, with `given` as its standard input; None where there is no git, or it hangs."""
    # Without --no-optional-locks, `git status` would write the user's index anew.
    command = ["git", "--no-optional-locks", *arguments]
    environment = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **variables}
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, input=given, capture_output=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None


def ask(folder: Path, *arguments: str) -> bytes | None:
    """What git prints; None where it fails, or there is no git."""
    found = run(folder, *arguments)
    return found.stdout if found is not None and found.returncode == 0 else None


def word(folder: Path, *arguments: str) -> str | None:
    """What git prints, as text without the white space around it."""
    found = ask(folder, *arguments)
    return None if found is None else found.decode(errors="replace").strip()


def top(folder: Path) -> Path | None:
    """The root of the checkout that a folder is in; None where it is in none."""
    found = word(folder, "rev-parse", "--show-toplevel")
    return Path(found) if found else None


def complaint(folder: Path) -> str:
    """Why git knows of no checkout around a folder, in its own words: another's folder is one that it does not read."""
    found = run(folder, "rev-parse", "--show-toplevel")
    if found is None:
        return "there is no git, or it does not answer"
    said = found.stderr.decode(errors="replace").strip().partition("\n")[0]
    return said.removeprefix("fatal: ") or "it has no commit yet"


def commit_of(folder: Path, revision: str) -> str | None:
    """The full hash of the commit that a revision means; None where it means none here."""
    return word(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")


def demand_one_meaning(folder: Path, revision: str) -> None:
    """Raises `UsageError` where a branch and a tag, say, have this name and are different commits.

    Git takes the tag: who may push one named `origin/main` would have it taken for that branch.
    """
    name = re.split(r"[~^@:]", revision, maxsplit=1)[0]
    could_be = [f"{place}{name}" for place in ("refs/", "refs/tags/", "refs/heads/", "refs/remotes/")]
    listed = word(folder, "for-each-ref", "--format=%(refname)", *could_be) if name else None
    found = [ref for ref in (listed or "").split() if ref in could_be]
    if len({commit_of(folder, ref) for ref in found}) > 1:
        raise UsageError(
            f"{revision} means {' and '.join(found)} here, which are different commits.",
            f"Write which one, {found[0]} say; whoever made the other may want it to be taken for that.",
        )


def is_shallow(folder: Path) -> bool:
    """Whether the repository lacks the older part of its history."""
    return word(folder, "rev-parse", "--is-shallow-repository") == "true"


def is_dirty(folder: Path) -> bool:
    """Whether tracked files of the checkout differ from its commit, those of submodules too."""
    return bool(word(folder, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=untracked"))


def file_at(folder: Path, revision: str, path: str) -> bytes | None:
    """A file's content at a revision, by its path from the repository's root; None where it was not there."""
    return ask(folder, "cat-file", "blob", f"{revision}:{path}")


def changed(folder: Path, old: str, new: str) -> list[str] | None:
    """The paths, from the repository's root, in which two commits differ; None where one of them is not here.

    A submodule is one path, also where .gitmodules would have it ignored.
    """
    found = ask(folder, "diff", "--name-only", "--no-renames", "--ignore-submodules=none", "-z", old, new, "--")
    return None if found is None else [path for path in found.decode(errors="surrogateescape").split("\0") if path]
