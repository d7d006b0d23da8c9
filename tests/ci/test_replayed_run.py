"""A whole run of CI on four changes to a project: what its pull request, its steps and its exit status say.

The texts are in golden/, times and other numbers masked. With UPDATE_GOLDEN=1 the tests write them anew.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from action_run import Job
from sample_suite import RELU
from sample_suite import fake_device

from pytest_kgate.report.ci.markdown import MARKER

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("golden")

TESTS = (
    RELU
    + """
from kernels import mine


@pytest.mark.perf
@pytest.mark.speedup(0.95)
def test_mine(kbench):
    kbench(mine, RELU)


@pytest.mark.perf
def test_equal(kbench):
    kbench(torch.relu, RELU, name="relu|@me")
"""
)

RIGHT = "import torch\n\ndef mine(x):\n    return torch.relu(x)\n"

CHANGES = {
    "passing": (RIGHT, 0.8, 0.01, 0),
    "failing": (RIGHT, 1.2, 0.01, 1),
    "inconclusive": (RIGHT, 0.95, 0.01, 1),
    "broken": ("import torch\n\ndef mine(x:\n", 0.8, 0.01, 2),
}
"""The file of the kernel, its latency ratio and noise on the device, and the exit status that the run must have."""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Another project, as checked out."""
    folder = tmp_path / "project"
    (folder / "tests").mkdir(parents=True)
    (folder / "tests" / "test_kernels.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    return folder


@pytest.mark.parametrize("change", CHANGES)
def test_run_ends_in_comment_summary_annotations_and_status(
    change: str, repository: Path, tmp_path: Path, warm_program: str
) -> None:
    kernel, ratio, noise, status = CHANGES[change]
    (repository / "kernels.py").write_text(kernel)
    (repository / "tests" / "conftest.py").write_text(fake_device(ratio, noise))
    job = Job(repository, tmp_path, {"KGATE_BUDGET": "0.5", "COLUMNS": "100"})
    (repository / "policy.toml").write_text('[[speedup]]\nratio = 0.9\ncandidate = "mine"\n')
    job.use(ROOT, package="none", python=warm_program, args="-m perf -p no:cacheprovider", policy="policy.toml")
    assert job.status == status, job.printed
    comment = (job.uploaded["kgate"] / "comment.md").read_text()
    assert comment.startswith(MARKER)
    assert comment.removeprefix(f"{MARKER}\n").startswith(job.summary.splitlines()[0])
    annotations = [line for line in job.printed.splitlines() if line.startswith("::")]
    policy = job.summary.partition("#### ")[2]
    told = _masked(
        f"{comment}\n--- annotations\n"
        + "".join(f"{line}\n" for line in annotations)
        + f"\n--- end of the step's summary\n{policy}"
    )
    golden = GOLDEN / f"{change}.md"
    if "UPDATE_GOLDEN" in os.environ:
        golden.write_text(told)
    assert told == golden.read_text()
    assert (job.uploaded["kgate"] / "junit.xml").exists()


def test_arguments_that_are_no_words_race_nothing(repository: Path, tmp_path: Path) -> None:
    job = Job(repository, tmp_path)
    job.use(ROOT, package="none", python=sys.executable, args="-k 'wmma")
    assert job.status == 1
    assert "No closing quotation" in job.printed
    comment = (job.uploaded["kgate"] / "comment.md").read_text()
    assert comment.startswith(f"{MARKER}\n### ❌ kgate: the run ended before anything could be told")


def _masked(text: str) -> str:
    """Without what differs from machine to machine, and without what failures say, which has tests of its own."""
    text = re.sub(r"(?s)(```text\n[^\n]*\n).*?```", r"\1...\n```", text)
    text = re.sub(r"\d+(\.\d+)?(e[+-]\d+)?(?= (?:[nmu]?s|rounds?|of \d+ rounds)\b)", "N", text)
    text = re.sub(r"N us( \[N us, N us\]|, at most N us)|- \(\d+ more samples\)", "PERCENTILE", text)
    text = re.sub(r"\d+\.\d+x?|\d+ %|\d+ of N rounds", "N", text)
    return re.sub(r"(?m)^.*fake timer.*$", "WHERE AND WHEN", text)
