"""Many gates in one session: classic rule, false discovery rate, reruns; as arithmetic, then as a user sees them."""

from __future__ import annotations

import json

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from record_schema import demand_valid
from sample_suite import RELU
from sample_suite import fake_device

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate import cli
from pytest_kgate.report.record.document import load
from pytest_kgate.report.together import false_discovery
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.group_sequential import critical_values
from pytest_kgate.statistics.group_sequential import sequential_p

pytest.importorskip("jsonschema", reason="needs jsonschema, of the test extra")


def record(p, verdict="PASS", rule="sequential", test="test_a.py::test_gate", confidence=0.95):
    gate = {"bound": 0.95, "quantile": 0.5, "confidence": confidence, "rule": rule, "verdict": verdict}
    gate |= {"reason": "" if verdict == "PASS" else "slow", "sequential_p": p}
    return {"test": test, "verdict": verdict, "reason": gate["reason"], "gates": [gate]}


# ---- Benjamini-Hochberg


def test_example_of_the_paper_keeps_four_of_fifteen():
    """Benjamini and Hochberg 1995, section 3.2, at a rate of 5 %."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528]
    assert false_discovery.benjamini_hochberg([*p, 0.7590, 1.0], 0.05) == 0.0095


@pytest.mark.parametrize(("p", "limit"), [([], 0.0), ([0.9, 0.8], 0.0), ([0.04, 0.05], 0.05), ([0.05], 0.05)])
def test_rate_limits_the_largest_p_value_that_is_kept(p, limit):
    assert false_discovery.benjamini_hochberg(p, 0.05) == limit


def test_lonely_pass_among_many_failures_is_not_kept():
    records = [record(0.02, test="test_a.py::test_lucky"), *(record(0.6, "FAIL") for _ in range(9))]
    changed, (line,) = false_discovery.control(records, 0.05)
    assert line.startswith("FAIL test_a.py::test_lucky speedup(0.95): passed on its own")
    assert (changed[0]["verdict"], changed[0]["gates"][0]["verdict"]) == ("FAIL", "FAIL")
    assert changed[1:] == records[1:]
    assert records[0]["verdict"] == "PASS"  # the caller's own is left as it was


def test_clear_passes_are_all_kept():
    records = [*(record(1e-6) for _ in range(5)), record(0.02), *(record(0.5, "FAIL") for _ in range(5))]
    assert false_discovery.control(records, 0.05) == (records, [])


def test_gate_that_did_not_pass_is_never_kept_whatever_its_p_value():
    records = [record(0.02), *(record(0.001, "INCONCLUSIVE") for _ in range(9))]
    _, lines = false_discovery.control(records, 0.05)
    assert len(lines) == 1


def test_classic_gates_take_no_part():
    classic = [record(None, rule="classic") for _ in range(20)]
    assert false_discovery.control(classic, 0.05) == (classic, [])
    assert false_discovery.expectation(classic) == ""


def test_summary_expects_false_passes_from_ten_gates_on():
    assert false_discovery.expectation([record(0.5) for _ in range(9)]) == ""
    found = false_discovery.expectation([record(0.5) for _ in range(20)])
    assert found == "false passes to expect among these 20 speed gates: at most 0.5 (2.5 % of each)"


# ---- reruns


def test_all_tries_together_err_at_most_twice_as_often_as_one():
    levels = [(1 - SpeedGate(0.95).at_attempt(number).confidence) / 2 for number in range(1, 30)]
    assert levels[:3] == pytest.approx([0.025, 0.0125, 0.00625])
    assert sum(levels) < 0.0501
    assert critical_values(1 - 2 * levels[-1])  # can still be computed


def test_p_value_of_a_race_on_its_boundary_is_what_was_spent_by_then():
    for confidence in (0.95, 0.99):
        alpha = (1 - confidence) / 2
        found = [sequential_p(t, look, confidence) for look, t in enumerate(critical_values(confidence))]
        assert found == pytest.approx([alpha * share**1.5 for share in (1 / 8, 1 / 4, 1 / 2, 1)])


def test_an_earlier_win_is_the_stronger_one():
    wins = [sequential_p(t, look, 0.95) for look in range(4) for t in (9.0, critical_values(0.95)[look])]
    assert wins == sorted(wins)
    assert sequential_p(float("inf"), 0, 0.95) == 0.0
    assert sequential_p(float("-inf"), 3, 0.95) == pytest.approx(1.0)


# ---- as a user sees them

RERUN = """
import os
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    '''As pytest-rerunfailures does it, three times at most.'''
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for run in (1, 2, 3):
        if "COUNT" in os.environ:
            item.execution_count = run
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        again = run < 3 and ("ALWAYS" in os.environ or any(report.failed for report in reports))
        for report in reports:
            if again:
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
        if not again:
            break
        item._initrequest()
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True

def pytest_report_teststatus(report):
    if report.outcome == "rerun":
        return "rerun", "R", "RERUN"
"""

TESTS = (
    RELU
    + """
@pytest.mark.speedup(0.95)
@pytest.mark.parametrize("number", range(COUNT))
def test_gate(kbench, number):
    kbench(torch.relu, RELUKEYWORDS)
"""
)


@pytest.fixture
def suite(pytester):
    """So many gates on a fake device with this true ratio."""

    def write(count=1, ratio=0.8, noise=0.02, conftest="", keywords=""):
        pytester.makeconftest(fake_device(ratio, noise) + conftest)
        pytester.makepyfile(TESTS.replace("COUNT", str(count)).replace("KEYWORDS", keywords))
        return pytester

    return write


def records_of(pytester):
    demand_valid(json.loads((pytester.path / "records.json").read_text()))
    return load(pytester.path / "records.json")


def test_classic_rule_takes_all_rounds_and_warns(suite):
    pytester = suite()
    result = pytester.runpytest_inprocess("--kgate-rule=classic", "--kgate-json=records.json")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*classic*PASS*", "warning: *error rate is not controlled*"])
    (found,) = records_of(pytester)
    assert (found["gates"][0]["rule"], found["gates"][0]["rounds"]) == ("classic", 96)
    assert found["gates"][0]["sequential_p"] is None


@pytest.mark.parametrize("keywords", [', rule="classic"', ', rule="classic", precision=0.5'])
def test_one_call_can_ask_for_the_classic_rule(suite, keywords):
    pytester = suite(keywords=keywords)
    pytester.runpytest_inprocess("--kgate-json=records.json").assert_outcomes(passed=1)
    (found,) = records_of(pytester)
    assert (found["gates"][0]["rule"], found["gates"][0]["rounds"]) == ("classic", 96)


def test_rule_of_the_marker_beats_the_command_line(suite):
    pytester = suite()
    pytester.path.joinpath("pytest.ini").write_text("[pytest]\nkgate_rule = classic\n")
    file = pytester.path / "test_rule_of_the_marker_beats_the_command_line.py"
    file.write_text(
        file.read_text().replace("@pytest.mark.speedup", '@pytest.mark.perf(rule="sequential")\n@pytest.mark.speedup')
    )
    pytester.runpytest_inprocess("--kgate-json=records.json").assert_outcomes(passed=1)
    assert records_of(pytester)[0]["gates"][0]["rule"] == "sequential"


LOST = """

def test_lost(kbench):
    with pytest.raises(pytest.fail.Exception):
        kbench(torch.relu, RELU)

for number in range(29):
    test_lost = pytest.mark.speedup(0.5 + 0.01 * number)(test_lost)
"""


@pytest.fixture
def narrow_and_lost(suite):
    """One narrow pass, and 29 gates that fail, in tests that both pass."""
    pytester = suite(ratio=0.945)
    pytester.makeini("[pytest]\nkgate_seed = 42\n")  # the order of samples decides how narrow
    (file,) = pytester.path.glob("test_*.py")
    file.write_text(file.read_text() + LOST)
    return pytester


def test_narrow_pass_among_many_gates_passes_on_its_own(narrow_and_lost):
    result = narrow_and_lost.runpytest_inprocess("--kgate-json=records.json")
    assert result.ret == 0
    (narrow,) = (one for one in records_of(narrow_and_lost) if one["verdict"] == "PASS")
    assert 0.05 / 30 < narrow["gates"][0]["sequential_p"] <= 0.025


@pytest.mark.parametrize("workers", [0, 2])
def test_pass_that_is_not_kept_among_many_gates_fails_the_session(warm, narrow_and_lost, workers):
    if workers:
        pytest.importorskip("xdist", reason="needs pytest-xdist")
        result = narrow_and_lost.runpytest_subprocess(f"-n{workers}", "-p", "no:cacheprovider", "--kgate-fdr=0.05")
    else:
        result = narrow_and_lost.runpytest_inprocess("--kgate-fdr=0.05")
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "false passes to expect among these 30 speed gates: at most 0.75*",
            "FAIL *::test_gate?0? speedup(0.95): *among 30 gates*",
        ]
    )


def test_records_of_several_sessions_are_judged_together(narrow_and_lost, capsys):
    for name, test in (("a", "test_gate"), ("b", "test_lost")):
        narrow_and_lost.runpytest_inprocess("-k", test, f"--kgate-json={name}.json", "--kgate-fdr=0.05")
    one, both = ["report", "a.json", "--fdr=0.05"], ["report", "a.json", "b.json", "--fdr=0.05"]
    assert cli.main(one) == 0
    capsys.readouterr()
    assert cli.main(both) == 1
    captured = capsys.readouterr()
    assert "30 FAIL" in captured.out
    assert "among 30 gates" in captured.err


def test_clear_wins_survive_the_false_discovery_rate(suite):
    result = suite(count=12).runpytest_inprocess("--kgate-fdr=0.05")
    result.assert_outcomes(passed=12)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["false passes to expect among these 12 speed gates: at most 0.3*"])


def test_false_discovery_rate_that_is_none_is_refused(suite):
    result = suite().runpytest_inprocess("--kgate-fdr=1.5")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--kgate-fdr cannot be '1.5'*"])


@pytest.mark.parametrize("plugin_counts", [True, False])
def test_rerun_of_a_failed_gate_is_counted_and_judged_more_strictly(suite, plugin_counts, monkeypatch):
    if plugin_counts:
        monkeypatch.setenv("COUNT", "1")
    pytester = suite(ratio=1.2, conftest=RERUN)
    result = pytester.runpytest_inprocess("--kgate-json=records.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    found = records_of(pytester)
    assert [(one["attempt"], one["call"]) for one in found] == [(1, 0), (2, 0), (3, 0)]
    assert [one["gates"][0]["confidence"] for one in found] == pytest.approx([0.95, 0.975, 0.9875])
    result.stdout.fnmatch_lines(["*try 2*", "*try 3*", "warning: rerun of a test: *"])


def test_run_again_after_a_pass_is_no_new_try(suite, monkeypatch):
    monkeypatch.setenv("ALWAYS", "1")
    pytester = suite(conftest=RERUN)
    pytester.runpytest_inprocess("--kgate-json=records.json")
    assert [one["attempt"] for one in records_of(pytester)] == [1, 1, 1]


def test_first_run_of_a_test_says_nothing_of_tries(suite):
    pytester = suite(conftest=RERUN)
    result = pytester.runpytest_inprocess("--kgate-json=records.json")
    result.assert_outcomes(passed=1)
    assert records_of(pytester)[0]["attempt"] == 1
    result.stdout.no_fnmatch_line("*try 1*")


def test_rerun_in_a_worker_sends_every_record_once(warm, suite):
    pytest.importorskip("xdist", reason="needs pytest-xdist")
    pytester = suite(count=2, ratio=1.2, conftest=RERUN)
    pytester.runpytest_subprocess("-n2", "-p", "no:cacheprovider", "--kgate-json=records.json")
    assert sorted(one["attempt"] for one in records_of(pytester)) == [1, 1, 2, 2, 3, 3]
