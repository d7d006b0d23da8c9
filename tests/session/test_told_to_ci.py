"""What a session leaves for CI besides its file of records: the step's summary, and figures in JUnit's report."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

import pytest_kgate.session.terminal.ci  # noqa: F401  (pytester forgets what its sessions import)

BODY = """
@pytest.mark.parametrize("bound", [0.95, 0.5])
def test_gate(kbench, bound):
    kbench(good, RELU, speedup=bound, name="relu <b>")

def test_other():
    assert {other}
"""


@pytest.fixture
def summary(tmp_path, monkeypatch):
    path = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def test_junit_has_the_figures_of_all_gates_as_the_suites_and_in_the_message(suite):
    pytester = suite(BODY.format(other=True), 0.8)
    pytester.runpytest_inprocess("--junitxml=junit.xml", "-o", "junit_family=xunit2")
    report = ElementTree.parse(pytester.path / "junit.xml").getroot().find("testsuite")
    found = {one.get("name"): one.get("value") for one in report.find("properties")}
    for bound, verdict in (("0.95", "PASS"), ("0.5", "FAIL")):
        test = f"test_junit_has_the_figures_of_all_gates_as_the_suites_and_in_the_message.py::test_gate[{bound}]"
        assert found[f"kgate.verdict {test}"] == verdict
        assert float(found[f"kgate.bound {test}"]) == float(bound)
        low, ratio, high = (float(found[f"kgate.{name} {test}"]) for name in ("ratio_low", "ratio", "ratio_high"))
        assert 0.7 < low < ratio < high < 0.9
    (failure,) = report.iter("failure")
    assert failure.get("message").startswith("GateFailure: FAIL: relu <b> against relu on relu")
    assert "; ratio 0." in failure.get("message")
    assert failure.get("message").endswith("], bound 0.50")


def test_step_summary_is_appended(suite, summary):
    summary.write_text("mine\n")
    suite(BODY.format(other=True), 0.8).runpytest_inprocess().assert_outcomes(passed=2, failed=1)
    text = summary.read_text()
    assert text.startswith("mine\n### \N{CROSS MARK} kgate: 1 of 2 gates does not pass\n")
    assert text.count("| **FAIL** |") == text.count("| PASS |") == 1
    assert "<code>relu &lt;b&gt;</code>" in text


def test_step_summary_tells_that_other_tests_have_failed(suite, summary):
    suite(BODY.format(other=False), 0.3).runpytest_inprocess()
    assert summary.read_text().startswith("### \N{CROSS MARK} kgate: all 2 gates pass, but pytest failed: tests")


def test_session_without_gates_writes_no_summary(suite, summary):
    suite("def test_other():\n    pass\n").runpytest_inprocess().assert_outcomes(passed=1)
    assert not summary.exists()


def test_summary_that_cannot_be_written_costs_nothing_but_itself(suite, summary, monkeypatch):
    pytester = suite(BODY.format(other=True), 0.3)
    summary.write_bytes(b"." * 1_048_500)
    result = pytester.runpytest_inprocess()
    result.stdout.fnmatch_lines(["kgate: the step's summary in *summary.md is full, and does not have these gates."])
    assert summary.stat().st_size == 1_048_500
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "no" / "folder"))
    result = pytester.runpytest_inprocess()
    assert result.ret == 0
    result.stdout.fnmatch_lines(["kgate: the step's summary was not written to *folder: No such file or directory."])
