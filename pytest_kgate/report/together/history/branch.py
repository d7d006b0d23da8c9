"""A history on a branch of its own, by which machines share it: an orphan, made by git's plumbing.

Neither the user's tree nor the index nor any branch of the user's is touched. Each push adds one file, named by its
content, beside those that are there: two pushes never change the same file, so that there is nothing to merge by hand.
Where another push came first, the file is added to what that has left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.report import format as text
from pytest_kgate.report.together.history.point import Point
from pytest_kgate.report.together.history.store import SUFFIX
from pytest_kgate.report.together.history.store import History
from pytest_kgate.report.together.history.store import Writer
from pytest_kgate.report.together.history.store import history_of
from pytest_kgate.report.together.history.store import read
from pytest_kgate.system.provenance import git

_TRIES = 20
"""Of a push that others come before."""

_NAMES = {"GIT_AUTHOR_NAME": "kgate", "GIT_AUTHOR_EMAIL": "kgate@localhost"}
_COMMITTER = {"GIT_COMMITTER_NAME": "kgate", "GIT_COMMITTER_EMAIL": "kgate@localhost"}
"""Of commits on the branch: a machine that only measures has no name for git."""


def push(path: Path, remote: str, branch: str) -> str:
    """Add what the branch of the remote lacks of a history; a sentence of what was done."""
    root = _root(branch)
    own = read(path)
    for _ in range(_TRIES):
        tip = _fetched(root, remote, branch)
        _demand_history(root, tip, remote, branch)
        there = _on_branch(root, tip)
        known = {point.identity for point in there.points}
        new = [point for point in own.points if point.identity not in known]
        if not new:
            said = f"{remote} has all {text.counted(len(own.points), 'gate')} of {path} on {branch} already."
            return " ".join([said, *own.said])
        commit = _commit(root, tip, new)
        pushed = git.run(root, "push", "--quiet", remote, f"{commit}:refs/heads/{branch}")
        if pushed is not None and pushed.returncode == 0:
            now = len(known) + len(new)
            said = f"{text.counted(len(new), 'gate')} of {path} added to {branch} of {remote}, which has {now} now."
            return " ".join([said, *own.said])
        if _fetched(root, remote, branch) == tip:
            raise KgateError(f"{remote} did not take the push: {_said(pushed)}", "See whether you may push there.")
    raise KgateError(f"{_TRIES} other pushes to {branch} came first.", "Try again.")


def pull(path: Path, remote: str, branch: str) -> str:
    """Add what a history lacks of the branch; a sentence of what was done."""
    root = _root(branch)
    tip = _fetched(root, remote, branch)
    if tip is None:
        raise UsageError(f"{remote} has no branch {branch}.", "`kgate history push PATH` makes it.")
    _demand_history(root, tip, remote, branch)
    there = _on_branch(root, tip)
    known = {point.identity for point in read(path).points} if path.exists() else set()
    new = [point for point in there.points if point.identity not in known]
    writer = Writer(path)
    writer.add(new)
    complaint = writer.close()
    if complaint is not None:
        raise KgateError(complaint, "Check the path and its permissions.")
    return " ".join([f"{text.counted(len(new), 'gate')} of {branch} added to {path}.", *there.said])


def _root(branch: str) -> Path:
    root = git.top(Path.cwd())
    if root is None:
        where = f"{Path.cwd()} is in no git checkout: {git.complaint(Path.cwd())}."
        raise UsageError(where, "Run it in the repository.")
    named = git.ask(root, "check-ref-format", f"refs/heads/{branch}") is not None
    if not named or branch == "HEAD" or branch.startswith(("-", "refs/")):
        raise UsageError(f"{branch!r} is no name of a branch.", "Such as --branch kgate-history.")
    return root


def _fetched(root: Path, remote: str, branch: str) -> str | None:
    """The commit at the tip of the remote's branch, with all that it holds; None where there is no such branch."""
    listed = git.run(root, "ls-remote", "--heads", remote, f"refs/heads/{branch}")
    if listed is None or listed.returncode != 0:
        raise KgateError(f"{remote} can't be asked: {_said(listed)}", "Name another with --remote.")
    tip = listed.stdout.decode(errors="replace").partition("\t")[0]
    if not tip:
        return None
    # No --depth: it would make a clone shallow that has its whole history.
    fetched = git.run(root, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", remote, f"refs/heads/{branch}")
    if fetched is None or fetched.returncode != 0 or git.commit_of(root, tip) is None:
        raise KgateError(f"{branch} of {remote} can't be fetched: {_said(fetched)}", "Try again.")
    return tip


def _demand_history(root: Path, tip: str | None, remote: str, branch: str) -> None:
    """Raises `UsageError` where the branch holds anything else: a push would add files to what others work on."""
    for entry in _entries(root, tip):
        facts, _, name = entry.partition(b"\t")
        if facts.split()[1] != b"blob" or not name.endswith(SUFFIX.encode()):
            raise UsageError(
                f"{branch} of {remote} is no history: it holds {name.decode(errors='replace')}.",
                "Name another branch with --branch, which nothing else is on; the first push makes it.",
            )


def _on_branch(root: Path, tip: str | None) -> History:
    names = {}
    for entry in _entries(root, tip):
        facts, _, name = entry.partition(b"\t")
        if name.endswith(SUFFIX.encode()):
            names[facts.split()[2]] = name.decode(errors="replace")
    return history_of({names[blob]: content for blob, content in _blobs(root, list(names))})


def _blobs(root: Path, blobs: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """All contents by one process: a branch of a year has hundreds."""
    done = git.run(root, "cat-file", "--batch", given=b"".join(blob + b"\n" for blob in blobs))
    printed = done.stdout if done is not None else b""
    place = 0
    for blob in blobs:
        end = printed.find(b"\n", place)
        head = printed[place:end].split()
        if end < 0 or len(head) != 3 or head[0] != blob:
            raise KgateError(f"{blob.decode()} can't be read: {_said(done)}", "Try again.")
        start, size = end + 1, int(head[2])
        yield blob, printed[start : start + size]
        place = start + size + 1


def _entries(root: Path, tip: str | None) -> list[bytes]:
    if tip is None:
        return []
    listed = git.ask(root, "ls-tree", "-z", tip)
    if listed is None:
        raise KgateError(f"The commit {tip[:12]} can't be read.", "Try again.")
    return [entry for entry in listed.split(b"\0") if entry]


def _commit(root: Path, tip: str | None, new: list[Point]) -> str:
    content = "".join(point.line() for point in new).encode()
    name = f"{hashlib.blake2b(content, digest_size=16).hexdigest()}{SUFFIX}"
    blob = _made(root, "hash-object", "-w", "--stdin", given=content)
    entries = [*_entries(root, tip), f"100644 blob {blob}\t{name}".encode()]
    tree = _made(root, "mktree", "-z", given=b"".join(entry + b"\0" for entry in entries))
    parent = [] if tip is None else ["-p", tip]
    return _made(root, "commit-tree", tree, *parent, "-m", f"{text.counted(len(new), 'gate')} measured")


def _made(root: Path, *arguments: str, given: bytes = b"") -> str:
    done = git.run(root, *arguments, given=given, variables={**_NAMES, **_COMMITTER})
    if done is None or done.returncode != 0:
        raise KgateError(f"git {arguments[0]} failed: {_said(done)}", "See whether the repository can be written to.")
    return done.stdout.decode().strip()


def _said(done: object) -> str:
    """The line of what git said that tells why: the first of its own, or that of the ref which was rejected."""
    lines = getattr(done, "stderr", b"").decode(errors="replace").strip().splitlines()
    telling = [line for line in lines if "rejected]" in line or line.startswith(("fatal:", "error:"))]
    line = next(iter(telling or reversed(lines)), "git did not answer")
    return f"{line.removeprefix('fatal: ').strip(' !').rstrip('.')}."
