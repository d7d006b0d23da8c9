"""Reports and exit status against what the gates said."""

from __future__ import annotations

import textwrap

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.session.report_tampering import Outcomes


def demanded(*tests):
    outcomes = Outcomes()
    for test in tests:
        outcomes.demand(test)
    return outcomes


def test_failure_that_is_reported_as_passed_is_named():
    outcomes = demanded("a")
    outcomes.told("a", "passed")
    assert "yet it was reported as passed" in outcomes.rewritten()[0]


def test_failure_that_nobody_is_told_of_is_named():
    assert "yet no report said so" in demanded("a").rewritten()[0]


def test_expected_failures_and_reruns_are_none_of_that():
    outcomes = demanded("xfail", "rerun")
    outcomes.told("xfail", "skipped")
    outcomes.told("rerun", "rerun")
    outcomes.begin("rerun")
    outcomes.told("rerun", "passed")
    outcomes.told("never failed", "passed")
    assert outcomes.rewritten() == []
    assert outcomes.masked(0) is None


def test_success_after_a_failed_gate_is_named():
    outcomes = demanded("a")
    outcomes.told("a", "failed")
    assert outcomes.masked(1) is None
    assert "exit status" in outcomes.masked(0)


def test_report_of_a_worker_says_what_its_records_demand():
    outcomes = Outcomes()
    outcomes.told("a", "passed", must_fail=True)
    assert "yet it was reported as passed" in outcomes.rewritten()[0]


GATES = """
import pytest
import torch
from pytest_kgate import GateFailure, Problem

RELU = Problem("relu", lambda g: (torch.randn(64, generator=g),), torch.relu, lambda x: torch.relu(x.double()))

def zeros(x):
    return torch.zeros_like(x)

@pytest.mark.allclose(1e-6)
def test_gate(kbench):
    BODY
"""

SWALLOWED = """
import pytest

@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call():
    try:
        return (yield)
    except BaseException:
        return None
"""


def play(pytester, body):
    pytester.makepyfile(GATES.replace("BODY", textwrap.dedent(body)))
    return pytester.runpytest_inprocess("--kgate-device=host", "-q")


def demand_failed(result):
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*::test_gate: its gate failed, yet it was reported as passed."])


def test_failure_that_a_hook_swallows_fails_the_session(pytester):
    pytester.makeconftest(SWALLOWED)
    demand_failed(play(pytester, "kbench(zeros, RELU)"))


def test_failure_that_is_never_raised_fails_the_session(pytester, monkeypatch):
    monkeypatch.setattr("pytest_kgate.session.fixtures.fixtures.report_outcome", lambda *_: None)
    demand_failed(play(pytester, "kbench(zeros, RELU)"))


def test_failure_that_a_test_expects_is_its_own_affair(pytester):
    assert play(pytester, "with pytest.raises(GateFailure): kbench(zeros, RELU)").ret == 0


def test_process_that_leaves_with_success_as_the_interpreter_exits_has_failed(pytester):
    pytester.makepyfile(GATES.replace("BODY", "import atexit, os; atexit.register(os._exit, 0); kbench(zeros, RELU)"))
    result = pytester.runpytest_subprocess("--kgate-device=host", "-q")
    assert result.ret == 1
    result.stderr.fnmatch_lines(["*os._exit would have passed for success*"])


TRACED = """
import sys
import torch
from pytest_kgate import Shape

def rewrite(frame, event, argument):
    if frame.f_code.co_name == "emit":
        frame.f_locals["record"]["verdict"] = "PASS"

def candidate(q, k, v):
    sys.setprofile(rewrite)
    return torch.zeros_like(q)

def test_it(kbench, sdpa_oracle):
    kbench(candidate, sdpa_oracle(Shape(1, 4, 32, 16), dtype="float32", backend="math"), allclose=1e-4)
"""


def test_tracer_that_a_wrong_candidate_turns_on_in_its_last_call_sees_no_record(pytester):
    pytester.makepyfile(TRACED)
    pytester.runpytest_inprocess("--kgate-device=host").assert_outcomes(failed=1)
