"""Candidates in Python raced against what they were: by name, or made by their test as it was then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from record_schema import demand_valid
from repositories import commit
from repositories import git
from sample_suite import RELU
from sample_suite import fake_device

from pytest_kgate.report.record.document import load
from pytest_kgate.report.record.record import Record

HELPER = """
import torch

def relu(x):
    return FACTOR * torch.relu(x)

def make(factor):
    own = factor * FACTOR
    def kernel(x):
        return own * torch.relu(x)
    return kernel
"""
"""Right where its factor is 1."""

TESTS = (
    RELU
    + """
import helper
from helper import relu

@pytest.fixture
def fixed():
    return helper.make(1)

def test_named(kbench):
    kbench(relu, RELU, weak="allow")

@pytest.mark.parametrize("factor", [1])
class TestMade:
    def test_factory(self, kbench, factor):
        kbench.soft(lambda x: torch.relu(x), RELU)
        kbench(helper.make(factor), RELU)

def test_lambda(kbench):
    kbench(lambda x: relu(x), RELU)

def test_fixture(kbench, fixed):
    kbench(fixed, RELU)

def test_within(kbench, fixed):
    kbench(lambda x: fixed(x), RELU)

def test_installed(kbench):
    kbench(torch.relu, RELU)

def test_text(kbench):
    kbench("helper.py:relu", RELU)
"""
)
LOCAL = ["-p", "no:cacheprovider", "--kgate-json=records.json", "--kgate-integrity=off"]


@pytest.fixture
def repository(pytester: pytest.Pytester, build_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """At `wrong` a helper of the candidates doubles their answers, at `before` it has another text."""
    monkeypatch.setenv("KGATE_CACHE_DIR", str(build_cache))
    monkeypatch.setenv("KGATE_DEVICE", "host")
    folder = pytester.path
    git(folder, "init", "-q", "-b", "main")
    pytester.makeconftest(fake_device(0.8, 0.01))
    (folder / ".gitignore").write_text("records.json\n__pycache__\n")
    for revision, factor in (("wrong", "2"), ("before", "1.0"), ("now", "1")):
        commit(folder, helper__py=f"FACTOR = {factor}\n{HELPER}", test_it__py=TESTS)
        git(folder, "tag", revision)
    return folder


def raced(pytester: pytest.Pytester, *arguments: str) -> dict[str, Record]:
    """The races against the other revision, by their tests' names and their numbers in these."""
    pytester.runpytest_inprocess(*LOCAL, *arguments)
    demand_valid(json.loads((pytester.path / "records.json").read_text()))
    found = load(pytester.path / "records.json")
    return {f"{one['test'].rpartition('::')[2]} {one['call']}": one for one in found if "against" in one}


def test_all_that_a_test_hands_over_is_what_it_was_then(pytester: pytest.Pytester, repository: Path) -> None:
    found = raced(pytester, "--kgate-against=before")
    told = {name: (one["verdict"], one["reason"]) for name, one in found.items()}
    by_fixture = [told.pop(name) for name in ("test_fixture 100", "test_within 100")]
    assert {verdict for verdict, _ in told.values()} == {"PASS"}, told
    assert sorted(told) == [
        *("test_factory[1] 100", "test_factory[1] 101", "test_lambda 100", "test_named 100", "test_text 100"),
    ]
    commit_of = git(repository, "rev-parse", "before")
    named = found["test_named 100"]
    assert named["reference"] is not None
    assert named["reference"]["name"] == f"relu at {commit_of[:9]} (before)"
    assert (named["against"]["commit"], named["against"]["same"]) == (commit_of, False)
    assert all(verdict == "NOT MEASURED" and "is not made by its code there" in why for verdict, why in by_fixture)


def test_code_of_then_is_what_runs(pytester: pytest.Pytester, repository: Path) -> None:
    found = raced(pytester, "--kgate-against=wrong", "-k", "named or factory or lambda")
    wrong = [name for name, one in found.items() if "is not right itself" in one["reason"]]
    assert sorted(wrong) == ["test_factory[1] 101", "test_lambda 100", "test_named 100"]
    assert found["test_factory[1] 100"]["verdict"] == "PASS"  # which calls no helper
