"""The commits between two revisions, read from the repository without a checkout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pytest_kgate.errors import UsageError
from pytest_kgate.system.provenance import git


@dataclass(frozen=True)
class Commit:
    """One commit of the chain."""

    commit: str
    """Its whole hash."""
    subject: str
    """The first line of its message."""

    @property
    def title(self) -> str:
        """`1a2b3c4d5 latency: constants fill one line`."""
        return f"{self.commit[:9]} {self.subject}".rstrip()


def chain(folder: Path, good: str, bad: str) -> tuple[Commit, list[Commit]]:
    """The good commit, and those behind it up to the bad one, oldest first; of merges the first parent's side.

    Raises `UsageError` where a revision means nothing here, or the good one is no ancestor of the bad one.
    """
    if git.top(folder) is None:
        raise UsageError(
            f"{folder} is in no git repository: {git.complaint(folder)}.", "Bisect a test within a checkout."
        )
    known = {}
    for word in (good, bad):
        git.demand_one_meaning(folder, word)
        commit = git.commit_of(folder, word)
        if commit is None:
            fetch = "`git fetch --unshallow` gets it." if git.is_shallow(folder) else "Name a branch, tag or commit."
            raise UsageError(f"The revision {word!r} means no commit in the repository of {folder}.", fetch)
        known[word] = commit
    listed = git.word(
        folder,
        "log",
        "--no-show-signature",  # which a setting of the user's may add to each commit
        "--first-parent",
        "--reverse",
        "--format=%H %s",
        f"{known[good]}..{known[bad]}",
        "--",
    )
    before = git.run(folder, "merge-base", "--is-ancestor", known[good], known[bad])
    if not listed or before is None or before.returncode != 0:
        cut = " This clone is shallow: `git fetch --unshallow` gets what is between." if git.is_shallow(folder) else ""
        raise UsageError(
            f"{good} is no earlier commit of {bad}.",
            f"--good is the faster revision, --bad a later one of its line.{cut}",
        )
    commits = [Commit(line[:40], line[41:]) for line in listed.splitlines()]
    subject = git.word(folder, "log", "--no-show-signature", "-1", "--format=%s", known[good], "--") or ""
    return Commit(known[good], subject), commits
