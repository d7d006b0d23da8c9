"""The workflow that comments on a pull request finds its one comment again, and believes nothing of what a run left."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from action_run import Job

from pytest_kgate.report.ci import markdown

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github" / "actions" / "comment"

GH = """#!/usr/bin/env bash
# Stands in for GitHub's own program, as far as the script calls it.
echo "$*" >>"$FAKE/calls"
case "$*" in
*/pulls*) cat "$FAKE/pulls" ;;
run\\ download*) [ -d "$FAKE/artifact" ] && cp -R "$FAKE/artifact/." "${!#}" ;;
*"--paginate"*) cat "$FAKE/comments" ;;
*"--method "*) cat "${*: -2:1}" 2>/dev/null || true ;;
esac
"""


@pytest.fixture
def github(tmp_path: Path) -> Path:
    """The folder of a stand-in for GitHub: an open pull request 7, and a comment as the artifact of the run."""
    folder = tmp_path / "github"
    (folder / "artifact").mkdir(parents=True)
    (folder / "artifact" / "comment.md").write_text(markdown.comment([]))
    (folder / "pulls").write_text("old0 6\nabc1 7\n")
    (folder / "comments").write_text("")
    program = folder / "gh"
    program.write_text(GH)
    program.chmod(0o755)
    return folder


def post(github: Path, branch: str = "faster") -> tuple[Job, list[str]]:
    """The job, and what it asked GitHub for."""
    job = Job(
        github, github, {"FAKE": str(github), "PATH": f"{github}:{os.environ['PATH']}", "GITHUB_REPOSITORY": "a/b"}
    )
    run = {"id": "99", "head_sha": "abc1", "head_repository.owner.login": "someone", "head_branch": branch}
    context = {f"github.event.workflow_run.{name}": value for name, value in run.items()}
    job.use(ACTION, {"github.token": "secret", **context}, artifact="kgate")
    return job, (github / "calls").read_text().splitlines()


def test_first_run_writes_a_comment_and_the_next_renews_it(github: Path) -> None:
    job, calls = post(github)
    assert job.status == 0, job.printed
    assert calls[-1].startswith("api --method POST repos/a/b/issues/7/comments -F body=@")
    (github / "comments").write_text("501\n502\n")
    job, calls = post(github)
    assert job.status == 0, job.printed
    assert calls[-1].startswith("api --method PATCH repos/a/b/issues/comments/501 -F body=@")


def test_only_a_comment_of_a_workflow_is_taken_for_the_earlier_one(github: Path) -> None:
    _, calls = post(github)
    (found,) = [call for call in calls if "--paginate" in call]
    assert '.user.type == "Bot"' in found
    assert f'startswith("{markdown.MARKER}")' in found


def test_measurement_of_an_older_commit_is_not_told(github: Path) -> None:
    (github / "pulls").write_text("def2 7\n")
    job, calls = post(github)
    assert job.status == 0
    assert "No open pull request ends at the commit that was measured." in job.printed
    assert not any("comments" in call for call in calls)


def test_branch_is_a_value_and_no_command(github: Path) -> None:
    branch = 'x"; touch "$FAKE/mine"; $(touch $FAKE/mine) `touch $FAKE/mine`'
    _, calls = post(github, branch)
    assert f"head=someone:{branch} " in calls[0]
    assert not (github / "mine").exists()


@pytest.mark.parametrize("content", ["@everyone, buy this", markdown.MARKER + "\n" + "x" * 300_000, None])
def test_artifact_that_is_no_comment_is_refused(github: Path, content: str | None) -> None:
    comment = github / "artifact" / "comment.md"
    if content is None:
        comment.unlink()
        comment.symlink_to("/etc/hostname")
    else:
        comment.write_text(content)
    job, calls = post(github)
    assert job.status == 1
    assert "holds no comment of pytest-kgate; nothing was posted" in job.printed
    assert not any("/comments" in call for call in calls)


def test_workflow_that_may_comment_takes_nothing_but_an_artifact() -> None:
    workflow: Any = yaml.safe_load((ROOT / ".github" / "workflows" / "comment.yml").read_text())
    assert list(workflow[True]) == ["workflow_run"]  # YAML reads `on` as true
    assert workflow["permissions"] == {}
    steps = workflow["jobs"]["comment"]["steps"]
    assert steps[0]["with"]["ref"] == "${{ github.event.repository.default_branch }}"
    assert "head" not in json.dumps(steps)


def test_a_labelled_pull_request_is_raced_as_it_was_when_it_got_the_label() -> None:
    workflow: Any = yaml.safe_load((ROOT / ".github" / "workflows" / "gpu.yml").read_text())
    assert workflow[True]["pull_request"] == {"types": ["labeled"]}
    assert "pull_request_target" not in workflow[True]
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["jobs"]["race"]["concurrency"] == {"group": "gpu"}
    assert workflow["jobs"]["race"]["strategy"]["max-parallel"] == 1
    assert "concurrency" not in workflow  # pushes that race nothing would cancel the run that waits


def test_scripts_of_workflows_are_files_and_values_reach_them_by_the_environment() -> None:
    for path in (*(ROOT / ".github").rglob("*.yml"), ROOT / "action.yml"):
        described: Any = yaml.safe_load(path.read_text())
        jobs = described.get("jobs", {}).values() if "jobs" in described else [described["runs"]]
        for step in (step for job in jobs for step in job["steps"] if "run" in step):
            assert "${{" not in step["run"], path
            assert len(step["run"].splitlines()) == 1, path
