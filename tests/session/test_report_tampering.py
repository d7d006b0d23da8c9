"""Reports and exit status against what the gates said."""

from __future__ import annotations

from pytest_kgate.session.report_tampering import Outcomes


def test_failure_that_is_reported_as_passed_is_named():
    outcomes = Outcomes()
    outcomes.failed("a")
    outcomes.told("a", "passed")
    assert "the report of it was changed" in outcomes.rewritten()[0]


def test_expected_failures_reruns_and_caught_failures_are_none_of_that():
    outcomes = Outcomes()
    outcomes.failed("xfail")
    outcomes.told("xfail", "skipped")
    outcomes.failed("rerun")
    outcomes.told("rerun", "rerun")
    outcomes.begin("rerun")
    outcomes.told("rerun", "passed")
    outcomes.told("never failed", "passed")
    assert outcomes.rewritten() == []
    assert outcomes.masked(0) is None


def test_success_after_a_failed_gate_is_named():
    outcomes = Outcomes()
    outcomes.failed("a")
    outcomes.told("a", "failed")
    assert outcomes.masked(1) is None
    assert "exit status" in outcomes.masked(0)
