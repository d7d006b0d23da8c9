"""Candidates of one file that share the rounds of a race: a test for each, a record for each, and one race."""

from __future__ import annotations

import json
import math

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from record_schema import demand_valid
from sample_suite import RELU

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.options.conflicts import check_conflicts
from pytest_kgate.evaluation.options.options import Options
from pytest_kgate.report.ranking.log_ratio import log_ratio_estimate
from pytest_kgate.report.ranking.log_ratio import paired_difference
from pytest_kgate.report.record.document import load
from pytest_kgate.session.fixtures.joint.file import candidates

CONFTEST = """
import pytest
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.fake.noise import White

TRUTH = {"reference": 1e-5, "candidate": 1e-5, "candidate 1": 0.9e-5, "candidate 2": 0.8e-5}

class Breaking(FakeDevice):
    def stopwatch(self, arms, workload, *, timer="auto", cache="hot"):
        from pytest_kgate.errors import TimingError
        if BREAKS:
            raise TimingError("The clock stood still.", "Wind it up.")
        return super().stopwatch(arms, workload, timer=timer, cache=cache)

@pytest.fixture(scope="session")
def kgate_device():
    return Breaking(TRUTH, White(0.01))
"""

TESTS = (
    RELU
    + """
ROWS = Problem("rows", lambda g: (torch.randn(8, 4, generator=g),), torch.relu, lambda x: torch.relu(x.double()))

@pytest.fixture
def made(knobs):
    def candidate(x):
        return torch.relu(x) + (0.5 if knobs["KIND"] == "wrong" else 0.0)
    candidate.__name__ = "of_" + str(knobs["KIND"])
    return candidate

@pytest.mark.speedup(0.1)
@pytest.mark.parametrize("problem", [RELU, ROWS], ids=["relu", "rows"])
def test_it(kbench, kernels, knobs, made, problem):
    if knobs["KIND"] == "unbuilt":
        kernels("nowhere.cpp")
    kbench(made, problem)

def test_other(kbench):
    kbench(torch.relu, RELU)
"""
)


@pytest.fixture
def run(pytester):
    def run(kinds, *arguments, breaks=False):
        pytester.makeconftest(CONFTEST.replace("BREAKS", str(breaks)))
        pytester.makepyfile(test_it=TESTS)
        pytester.makefile(".json", list=json.dumps([{"KIND": kind} for kind in kinds]))
        pytester.makeini("[pytest]\naddopts = -x\n")
        result = pytester.runpytest_inprocess("--kgate-joint=list.json", "--kgate-json=records.json", *arguments)
        records = pytester.path / "records.json"
        demand_valid(json.loads(records.read_text()))
        return result, load(records)

    return run


def test_advice_of_a_joint_race_names_the_marker_that_wins(pytester):
    marked = TESTS.replace("@pytest.mark.speedup(0.1)", '@pytest.mark.perf(timer="graph")\n@pytest.mark.speedup(0.1)')
    pytester.makepyfile(test_it=marked)
    pytester.makefile(".json", list=json.dumps([{"KIND": kind} for kind in (1, 2)]))
    result = pytester.runpytest_inprocess("--kgate-joint=list.json", "--kgate-device=host", "-k", "test_it and relu")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*Use @pytest.mark.perf(timer='auto') on the host.*"])


def kind(record):
    return record["asked"]["knobs"]["KIND"]["value"]


def test_right_candidates_share_rounds_and_the_others_drop_out_with_their_verdict(run):
    result, records = run([1, "wrong", 2, "unbuilt"], "--kgate-rounds=6")
    result.assert_outcomes(passed=5, failed=4)
    alone = records.pop()  # of the test without knobs
    assert (alone["verdict"], alone["timing"]["rounds"], alone["measured"].get("joint")) == ("MEASURED", 6, None)
    for name in ("relu 64x64", "rows"):
        mine = {kind(record): record for record in records if record["problem"]["name"] == name}
        assert {one: record["verdict"] for one, record in mine.items()} == {
            1: "MEASURED",
            2: "MEASURED",
            "wrong": "WRONG",
            "unbuilt": "ERROR",
        }
        assert "nowhere.cpp" in mine["unbuilt"]["reason"]
        assert mine["unbuilt"]["test"].endswith("KIND=unbuilt]")
        assert mine["unbuilt"]["candidate"]["name"] == "KIND=unbuilt"
        first, second = mine[1], mine[2]
        joint = first["measured"]["joint"]
        assert joint == second["measured"]["joint"]
        assert joint["arms"] == 3
        assert first["timing"]["rounds"] == 6
        assert first["timing"]["reference"]["samples"] == second["timing"]["reference"]["samples"]
        assert "answers of timed launches" in first["measured"]["not_looked_at"]
        assert first["correctness"]["verdict"] == "PASS"
        assert first["gates"] == []
        assert math.exp(log_ratio_estimate(second).log_ratio) == pytest.approx(0.8, rel=0.03)
        difference = paired_difference(first, second)
        assert math.exp(difference.log_ratio) == pytest.approx(0.9 / 0.8, rel=0.03)
        assert difference.rounds == 6
    races = {record["measured"]["joint"]["race"] for record in records if record["verdict"] == "MEASURED"}
    assert len(races) == 2
    one, other = [record for record in records if kind(record) == 1]
    with pytest.raises(KgateError, match="shared no rounds"):
        paired_difference(one, other)


def test_a_race_that_breaks_off_fails_the_test_behind_which_it_was_and_accuses_nobody(run):
    result, records = run([1, 2], "test_it.py::test_it[relu]", breaks=True)  # named without the candidates
    result.assert_outcomes(passed=1, failed=1, deselected=2)
    assert [record["test"].partition("::")[2] for record in records] == ["test_it[relu-KIND=1]", "test_it[relu-KIND=2]"]
    assert [record["verdict"] for record in records] == ["INVALID", "INVALID"]
    assert all("2 candidates shared broke off: The clock stood still." in record["reason"] for record in records)
    result.stdout.fnmatch_lines(["*2 of 2 kbench calls have failed*"])
    assert "reported as passed" not in result.stdout.str()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not JSON"),
        ("{}", "holds no list of candidates"),
        ("[]", "holds no list of candidates"),
        (json.dumps([{"A": n} for n in range(33)]), "holds no list of candidates"),
        ('[{"A": 1}, 2]', "entry 1 is 2, and no knobs with values"),
        ('[{"A": [1]}]', "entry 0"),
        ('[{"A": 1, "B": 2}, {"B": 2, "A": 1}]', "A=1,B=2 is there twice"),
    ],
)
def test_a_file_that_holds_no_candidates_says_what_it_should(tmp_path, content, said):
    file = tmp_path / "list.json"
    file.write_text(content)
    with pytest.raises(UsageError, match=said) as caught:
        candidates(file)
    assert '[{"STAGES": 2}, {"STAGES": 3}]' in str(caught.value) or "Name each candidate once." in str(caught.value)
    with pytest.raises(UsageError, match="can't be read"):
        candidates(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    "other", [{"processes": 5}, {"isolate": True}, {"sweep": (("A", (1, 2)),)}, {"until": "check"}]
)
def test_what_needs_processes_of_its_own_or_other_candidates_is_refused(tmp_path, other):
    (name,) = other
    with pytest.raises(UsageError, match=rf"joint=.* cannot go with {name}"):
        check_conflicts(Options(joint=tmp_path / "list.json", **other))
