"""Several gates in one test, all judged and all told; the figures of every gate in other plugins' reports."""

from __future__ import annotations

import textwrap
import xml.etree.ElementTree as ElementTree

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from sample_suite import fake_device
from user_session import BEFORE

import pytest_kgate.bench.call
import pytest_kgate.report.ci.properties
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.report.record.document import load

WRONG = """
def wrong(x):
    return torch.relu(x) + 0.5
"""


@pytest.fixture
def run(pytester):
    """Run one test with this body; the candidate's ratio is 0.8 there."""

    def run(body: str, *arguments: str, conftest: str = ""):
        pytester.makeconftest(fake_device() + conftest)
        pytester.makepyfile(test_it=BEFORE + WRONG + textwrap.dedent(body))
        return pytester.runpytest_inprocess("-k", "not before", "--kgate-json=records.json", "-rA", *arguments)

    return run


def test_soft_gates_are_all_judged_and_the_test_fails_at_its_end_with_all_failures(run):
    result = run("""
    def test_several(kbench):
        first = kbench.soft(good, RELU, name="slow", speedup=0.5)
        kbench.soft(wrong, RELU, name="wrong", allclose=1e-3)
        kbench.soft(good, RELU, name="fine", speedup=0.9)
        print("verdict", first["verdict"])
    """)
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(
        [
            "2 of 3 kbench calls have failed",
            "FAIL: slow against relu on relu 64x64",
            "WRONG: wrong against relu on relu 64x64",
            "verdict FAIL",
            "FAILED test_it.py::test_several - GateFailure: 2 of 3 kbench calls have failed; ratio *",
        ]
    )
    assert [record["verdict"] for record in load("records.json")] == ["FAIL", "WRONG", "PASS"]


@pytest.mark.parametrize(
    ("last", "outcomes", "said"),
    [
        ("pass", {"failed": 1}, "GateFailure: FAIL: soft against relu"),
        ("kbench(wrong, RELU, allclose=1e-3)", {"failed": 1}, "GateFailure: 2 of 2 kbench calls have failed"),
        ("pytest.skip('enough')", {"failed": 1}, "GateFailure: FAIL: soft against relu"),
        ("assert [] == [1]", {"failed": 1}, "AssertionError"),
    ],
    ids=["end", "hard gate", "skip", "assertion"],
)
def test_whatever_ends_the_test_a_soft_failure_before_it_is_told(run, last, outcomes, said):
    result = run(f"""
    def test_one(kbench):
        kbench.soft(good, RELU, name="soft", speedup=0.5)
        {last}
    """)
    result.assert_outcomes(**outcomes, deselected=1)
    result.stdout.fnmatch_lines([f"*{said}*"])
    assert "FAIL: soft against relu on relu 64x64" in result.stdout.str()
    assert "was reported as passed" not in result.stdout.str()


def test_undecided_soft_gate_may_skip_the_test_but_only_at_its_end(run):
    result = run(
        """
        def test_one(kbench):
            kbench.soft(good, RELU, name="undecided", speedup=0.8)
            kbench.soft(good, RELU, name="decided", speedup=0.9)
        """,
        "--kgate-inconclusive=skip",
    )
    result.assert_outcomes(skipped=1, deselected=1)
    assert [record["verdict"] for record in load("records.json")] == ["INCONCLUSIVE", "PASS"]


def test_figures_of_passing_gates_are_in_the_junit_report(run, pytester):
    result = run(
        """
        @pytest.mark.speedup(0.9)
        @pytest.mark.speedup(0.95, quantile=0.9)
        def test_one(kbench, record_property):
            record_property("own", "kept")
            kbench(good, RELU)
            kbench(good, RELU, speedup=0.99)
        """,
        "--junitxml=report.xml",
    )
    result.assert_outcomes(passed=1, deselected=1)
    case = ElementTree.parse(pytester.path / "report.xml").find(".//testcase")
    found = {one.get("name"): one.get("value") for one in case.find("properties")}
    assert found["own"] == "kept"
    assert found["kgate.verdict"] == found["kgate.p90.verdict"] == found["kgate.2.verdict"] == "PASS"
    assert float(found["kgate.ratio_low"]) < float(found["kgate.ratio"]) < float(found["kgate.ratio_high"]) < 0.9
    assert float(found["kgate.2.bound"]) == 0.99
    assert found["kgate.reference"] == "relu"
    assert float(found["kgate.candidate_seconds"]) == pytest.approx(0.8e-5, rel=0.05)


TWICE = """
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    from _pytest.runner import runtestprotocol
    runtestprotocol(item, nextitem=nextitem, log=False)
"""


def test_properties_of_a_test_that_runs_again_are_those_of_its_last_run(run, pytester):
    body = """
    def test_one(kbench):
        kbench(good, RELU, speedup=0.9)
    """
    run(body, "--junitxml=report.xml", conftest=TWICE).assert_outcomes(passed=1, deselected=1)
    assert len(load("records.json")) == 2
    case = ElementTree.parse(pytester.path / "report.xml").find(".//testcase")
    assert [one.get("name") for one in case.find("properties")].count("kgate.ratio") == 1
