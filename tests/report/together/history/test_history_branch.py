"""`kgate history push` and `pull`: a branch that machines share, without merges, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from histories import point
from receipts import git

from pytest_kgate import cli
from pytest_kgate.errors import KgateError
from pytest_kgate.report.together.history import branch
from pytest_kgate.report.together.history.store import append
from pytest_kgate.report.together.history.store import read


@pytest.fixture
def clones(tmp_path: Path) -> list[Path]:
    """Two clones of one repository, each with a change that is not committed, and a gate in its history."""
    git(tmp_path, "init", "-q", "--bare", "hub.git")
    git(tmp_path, "clone", "-q", "hub.git", "first")
    (tmp_path / "first" / "file").write_text("a")
    git(tmp_path / "first", "add", ".")
    git(tmp_path / "first", "commit", "-qm", "first")
    git(tmp_path / "first", "push", "-q", "origin", "HEAD:main")
    git(tmp_path, "clone", "-q", "-b", "main", "hub.git", "second")
    found = [tmp_path / "first", tmp_path / "second"]
    for number, clone in enumerate(found):
        (clone / "file").write_text(f"changed {number}")
        (clone / "staged").write_text("b")
        git(clone, "add", "staged")
        append(clone / "history.jsonl", point(number).line().encode())
    return found


def state(clone: Path) -> tuple[str, ...]:
    """What a user would notice of a change: tree, index, branches, and what was fetched last."""
    looked = [git(clone, "status", "--porcelain"), git(clone, "diff"), git(clone, "for-each-ref", "refs/heads")]
    return (*looked, git(clone, "ls-files", "-s"), str((clone / ".git" / "FETCH_HEAD").exists()))


def test_pushes_of_two_machines_add_up_and_nothing_of_theirs_is_touched(
    clones: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [state(clone) for clone in clones]
    for clone in clones:
        monkeypatch.chdir(clone)
        assert cli.main(["history", "push", "history.jsonl"]) == 0
    assert capsys.readouterr().out.endswith("added to kgate-history of origin, which has 2 now.\n")
    assert cli.main(["history", "push", "history.jsonl"]) == 0
    assert "has all 1 gate of history.jsonl on kgate-history already" in capsys.readouterr().out
    for clone in clones:
        monkeypatch.chdir(clone)
        assert cli.main(["history", "pull", "history.jsonl"]) == 0
    assert [state(clone) for clone in clones] == before
    assert [len(read(clone / "history.jsonl").points) for clone in clones] == [2, 2]
    hub = clones[0].parent / "hub.git"
    assert git(hub, "log", "--format=%s", "kgate-history").splitlines() == ["1 gate measured"] * 2
    assert git(hub, "merge-base", "--all", "main", "kgate-history", check=False) == ""  # an orphan


def test_branch_that_others_work_on_is_left_as_it_is(clones: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    hub = clones[0].parent / "hub.git"
    before = git(hub, "for-each-ref")
    monkeypatch.chdir(clones[0])
    for move in (branch.push, branch.pull):
        with pytest.raises(KgateError, match="main of origin is no history: it holds file"):
            move(Path("history.jsonl"), "origin", "main")
    for name in ("", "a b", "../main", "HEAD", "refs/heads/main"):
        with pytest.raises(KgateError, match="is no name of a branch"):
            branch.push(Path("history.jsonl"), "origin", name)
    assert git(hub, "for-each-ref") == before


def test_push_that_another_one_came_before_is_made_again(clones: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = clones
    made = branch._commit

    def late(root: Path, *facts: object) -> str:
        monkeypatch.setattr(branch, "_commit", made)
        commit = made(root, *facts)  # type: ignore[arg-type]
        monkeypatch.chdir(second)
        branch.push(second / "history.jsonl", "origin", "kgate-history")
        monkeypatch.chdir(first)
        return commit

    monkeypatch.setattr(branch, "_commit", late)
    monkeypatch.chdir(first)
    assert branch.push(Path("history.jsonl"), "origin", "kgate-history").endswith("which has 2 now.")


def test_remote_or_branch_that_is_not_there_is_named(
    clones: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(clones[0])
    with pytest.raises(KgateError, match="origin has no branch kgate-history"):
        branch.pull(Path("history.jsonl"), "origin", "kgate-history")
    with pytest.raises(KgateError, match="upstream can't be asked"):
        branch.push(Path("history.jsonl"), "upstream", "kgate-history")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KgateError, match="is in no git checkout"):
        branch.push(clones[0] / "history.jsonl", "origin", "kgate-history")
    # A shallow clone has all of the branch, and stays as shallow as it was.
    monkeypatch.chdir(clones[1])
    branch.push(Path("history.jsonl"), "origin", "kgate-history")
    git(tmp_path, "clone", "-q", "--depth=1", "-b", "main", f"file://{tmp_path}/hub.git", "shallow")
    monkeypatch.chdir(tmp_path / "shallow")
    branch.pull(Path("history.jsonl"), "origin", "kgate-history")
    assert len(read(Path("history.jsonl")).points) == 1
    assert git(Path(), "rev-list", "--count", "HEAD") == "1"
