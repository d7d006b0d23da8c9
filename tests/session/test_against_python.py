"""Candidates in Python raced against what they were: by name, or made by their test as it was then."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch  # (pytester forgets what its sessions import, and torch can't be imported twice)
from record_schema import demand_valid
from repositories import commit
from repositories import git
from sample_records import speed_record
from sample_suite import RELU
from sample_suite import fake_device

from pytest_kgate import Problem
from pytest_kgate.bench.request import Outcome
from pytest_kgate.bench.request import Request
from pytest_kgate.bench.request import Settings
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.evaluation.options.options import Options
from pytest_kgate.evaluation.options.override import override
from pytest_kgate.integrity.isolation.candidate_name import CandidateFunction
from pytest_kgate.report.record.document import load
from pytest_kgate.report.record.record import Record
from pytest_kgate.session.fixtures.sources.against import Regression

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

@pytest.fixture
def module():
    return helper

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

def test_module(kbench, module):
    kbench(lambda x: module.relu(x), RELU)

def test_installed(kbench):
    kbench(torch.relu, RELU)
"""
)
LOCAL = ["-p", "no:cacheprovider", "--kgate-json=records.json", "--kgate-integrity=off"]


@pytest.fixture
def repository(pytester: pytest.Pytester, build_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """At `wrong` a helper of the candidates doubles their answers."""
    monkeypatch.setenv("KGATE_CACHE_DIR", str(build_cache))
    monkeypatch.setenv("KGATE_DEVICE", "host")
    folder = pytester.path
    git(folder, "init", "-q", "-b", "main")
    pytester.makeconftest(fake_device(0.8, 0.01))
    (folder / ".gitignore").write_text("records.json\n__pycache__\n")
    commit(folder, helper__py=f"FACTOR = 2\n{HELPER}", test_it__py=TESTS)
    git(folder, "tag", "wrong")
    commit(folder, helper__py=f"FACTOR = 1\n{HELPER}")
    return folder


def raced(pytester: pytest.Pytester, *arguments: str) -> dict[str, Record]:
    """The races against the other revision, by their tests' names and their numbers in these."""
    pytester.runpytest_inprocess(*LOCAL, *arguments)
    demand_valid(json.loads((pytester.path / "records.json").read_text()))
    found = load(pytester.path / "records.json")
    return {f"{one['test'].rpartition('::')[2]} {one['call']}": one for one in found if "against" in one}


def test_what_a_test_hands_over_is_made_by_its_code_of_then(pytester: pytest.Pytester, repository: Path) -> None:
    found = raced(pytester, "--kgate-against=wrong")
    told = {name: (one["verdict"], one["reason"]) for name, one in found.items()}
    commit_of = git(repository, "rev-parse", "wrong")
    plain = found["test_factory[1] 100"]  # which calls no helper
    assert plain["reference"] is not None
    assert (plain["verdict"], plain["reference"]["name"]) == ("PASS", f"<lambda> at {commit_of[:9]} (wrong)")
    assert (plain["against"]["commit"], plain["against"]["same"]) == (commit_of, False)
    wrong = sorted(name for name, (_, why) in told.items() if "is not right itself" in why)
    assert wrong == ["test_factory[1] 101", "test_lambda 100", "test_named 100"]
    fixed = sorted(name for name, (_, why) in told.items() if "is not made by its code there" in why)
    assert fixed == ["test_fixture 100", "test_module 100", "test_within 100"]
    assert len(told) == 7  # none of a function of PyTorch's own


def test_isolated_candidate_stays_isolated_and_nothing_of_todays_is_imported(
    repository: Path, request: pytest.FixtureRequest
) -> None:
    setting, before = "torch.set_float32_matmul_precision", torch.get_float32_matmul_precision()
    commit(repository, helper__py=f"FACTOR = 1\n{HELPER}\n{setting}('medium')\n")
    (repository / "helper.py").write_text("raise SystemExit('imported in the judging process')\n")
    today = CandidateFunction.parse("helper.py:relu", (repository,))
    options = override(Options(), "kbench", isolate=True, against="HEAD")
    problem = Problem("relu", inputs=lambda g: torch.randn(8, generator=g), reference=torch.relu, exact=torch.relu)
    asked = Request("test_it", 0, today, problem, (), None, Settings(isolate=True))
    session = SimpleNamespace(runs=SimpleNamespace(records=()))
    regression = Regression.of(asked, request.node, session, FakeDevice({}), options)
    seen: list[Request] = []

    def run(one: Request) -> Outcome:
        seen.append(one)
        return Outcome(speed_record(ratio=0.8))

    record = regression.judged(run).record
    checked, raced_then = seen
    assert (checked.settings.isolate, checked.settings.until) == (False, "check")
    assert (raced_then.settings.isolate, raced_then.candidate) == (True, today)
    assert raced_then.problem.reference is checked.candidate
    assert checked.candidate(torch.tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]
    assert record["reference"]["name"].startswith("relu at ")
    assert torch.get_float32_matmul_precision() == before  # it was put back, and is said
    changed = f"have changed torch.get_float32_matmul_precision: {before} -> medium"
    assert any(changed in one for one in raced_then.notes)
