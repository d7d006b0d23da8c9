"""The files of one commit, looked at without a checkout."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from pytest_kgate.errors import RevisionError
from pytest_kgate.errors import UsageError
from pytest_kgate.system.provenance import git

_SUBMODULE = "160000"
_LINK = "120000"


@dataclass(frozen=True)
class Tree:
    """The tree of a commit; paths are from the repository's root, with slashes."""

    root: Path
    """Of the checkout whose repository has the commit."""

    commit: str
    """Its whole hash."""

    revision: str
    """As the user named it: `origin/main`."""

    modes: Mapping[str, str] = field(repr=False)
    """Of each file, submodule and symbolic link, by its path."""

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of all files, in their order; submodules and links have none."""
        return tuple(sorted(path for path, mode in self.modes.items() if mode not in (_SUBMODULE, _LINK)))

    @property
    def title(self) -> str:
        """`1a2b3c4d5 (origin/main)`; the hash alone where the user named it by that."""
        short = self.commit[:9]
        return short if self.commit.startswith(self.revision) else f"{short} ({self.revision})"

    def has(self, path: str) -> bool:
        """Whether there is a file of this path. Raises `RevisionError` for one in a submodule, and for a link."""
        mode = self.modes.get(path)
        if mode is None:
            parents = (path[:place] for place, letter in enumerate(path) if letter == "/")
            inside = next((one for one in parents if self.modes.get(one) == _SUBMODULE), None)
            if inside is not None:
                raise RevisionError(
                    f"{path} lies in the submodule {inside} at {self.title}, and git archives no files of submodules.",
                    "Name a revision before the submodule, or keep the kernel's headers in its own repository.",
                )
            return False
        if mode == _LINK:
            raise RevisionError(
                f"{path} is a symbolic link at {self.title}, which is not followed.",
                "Include the file that it leads to.",
            )
        return mode != _SUBMODULE

    def text(self, path: str) -> str:
        """The text of a file that is there."""
        return (git.file_at(self.root, self.commit, path) or b"").decode(errors="replace")


def tree_at(folder: Path, revision: str) -> Tree:
    """The tree of a revision in the repository that `folder` is in.

    Raises `RevisionError` where the folder is in no repository, `UsageError` for a revision that means nothing there.
    """
    root = git.top(folder)
    if root is None:
        raise RevisionError(
            f"{folder} is in no git repository, so that there is no {revision} of it: {git.complaint(folder)}.",
            "Race against another revision what is kept in git.",
        )
    git.demand_one_meaning(root, revision)
    commit = git.commit_of(root, revision)
    if commit is None and git.is_shallow(root):
        raise UsageError(
            f"The revision {revision!r} is not in {root}, which is a shallow clone.",
            "Fetch it: `git fetch --unshallow`, or `fetch-depth: 0` of actions/checkout.",
        )
    listed = None if commit is None else git.ask(root, "ls-tree", "-r", "-z", "--full-tree", commit)
    if commit is None or listed is None:
        raise UsageError(
            f"The revision {revision!r} means no commit in {root}.",
            "Name a branch, a tag or a commit that is there; `git fetch` gets those of a remote.",
        )
    modes = {}
    for line in os.fsdecode(listed).split("\0"):
        facts, tab, path = line.partition("\t")
        if tab:
            modes[path] = facts.partition(" ")[0]
    return Tree(root, commit, revision, modes)
