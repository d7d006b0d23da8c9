"""Reports and exit status against what the gates said."""

from __future__ import annotations

import textwrap

import pytest

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.session.tampering.reports import Outcomes


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
    outcomes.told("xfail", "skipped", {"must_fail": True, "expected": True, "caught": False})
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
    outcomes.told("a", "passed", {"must_fail": True, "expected": False, "caught": False})
    assert "yet it was reported as passed" in outcomes.rewritten()[0]


ZEROS = """
import contextlib
import functools
import gc
import sys
import threading
import unittest
import pytest
import torch
from pytest_kgate import GateFailure, Problem

RELU = Problem("relu", lambda g: (torch.randn(64, generator=g),), torch.relu, lambda x: torch.relu(x.double()))

def zeros(x):
    return torch.zeros_like(x)
"""

GATES = (
    ZEROS
    + """
@pytest.mark.allclose(1e-6)
def test_gate(kbench):
    BODY
"""
)

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


CAUGHT = (
    ZEROS
    + """
pytestmark = pytest.mark.allclose(1e-6)

def quietly(function):
    @functools.wraps(function)
    def call(kbench):
        with contextlib.suppress(GateFailure):
            function(kbench)
    return call

@pytest.fixture
def missed(kbench):
    with pytest.raises(GateFailure) as caught:
        kbench(zeros, RELU)
    yield caught.value

def test_raises(kbench):
    with pytest.raises(GateFailure):
        kbench(zeros, RELU)
    assert kbench

def test_except(kbench):
    for _ in range(2):
        try:
            kbench(zeros, RELU)
        except GateFailure:
            continue

@quietly
def test_decorated(kbench):
    kbench(zeros, RELU)

class TestClass:
    def test_method(self, kbench):
        pytest.raises(GateFailure, kbench, zeros, RELU)

def test_in_a_fixture(missed):
    assert "WRONG" in str(missed)
"""
)


def test_failure_that_a_test_catches_is_its_own_affair_and_told(pytester):
    pytester.makepyfile(CAUGHT)
    result = pytester.runpytest_inprocess("--kgate-device=host")
    result.assert_outcomes(passed=5)
    assert result.ret == 0
    said = " ".join(result.stdout.str().split())
    assert "5 tests caught the failure of a gate, which is then no failure: " in said
    assert "::test_raises" not in said.partition("no failure: ")[2].partition(" and 2 more")[0]  # the first in order


EXPECTED = (
    ZEROS
    + """
pytestmark = pytest.mark.allclose(1e-6)

@pytest.fixture
def known(request):
    request.applymarker(pytest.mark.xfail(reason="known"))

@pytest.mark.xfail
def test_marked(kbench):
    kbench(zeros, RELU)

def test_marked_by_a_fixture(known, kbench):
    kbench(zeros, RELU)

def test_marked_by_itself(request, kbench):
    request.node.add_marker(pytest.mark.xfail(reason="known"))
    kbench(zeros, RELU)

def test_marked_by_a_hook(kbench):
    kbench(zeros, RELU)

def test_marked_as_it_starts(kbench):
    kbench(zeros, RELU)

def test_says_so(kbench):
    try:
        kbench(zeros, RELU)
    except GateFailure:
        pytest.xfail("known")

def test_found_late(request):
    request.applymarker(pytest.mark.xfail(reason="known"))
    request.getfixturevalue("kbench")(zeros, RELU)

class Case(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _kbench(self, kbench):
        self.kbench = kbench

class TestOneOfUnittests(Case):
    @unittest.expectedFailure
    def test_method(self):
        self.kbench(zeros, RELU)

@unittest.expectedFailure
class TestAllOfUnittests(Case):
    def test_method(self):
        self.kbench(zeros, RELU)
"""
)

MARKS = """
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        if item.name == "test_marked_by_a_hook":
            item.add_marker(pytest.mark.xfail)

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if item.name == "test_marked_as_it_starts":
        item.add_marker(pytest.mark.xfail)
"""


@pytest.mark.parametrize("more", [(), ("-n1",)], ids=["alone", "xdist"])
def test_expected_failure_may_be_marked_until_the_candidate_runs(warm, pytester, more):
    pytester.makeconftest(MARKS)
    pytester.makepyfile(EXPECTED)
    result = pytester.runpytest_inprocess("--kgate-device=host", *more)
    result.assert_outcomes(xfailed=9)
    assert result.ret == 0


BY_CANDIDATE = {
    "finds its item by gc": """for one in gc.get_objects():
        if type(one) is pytest.Function: one.add_marker(pytest.mark.xfail)""",
    "finds its item in frames": """frame = sys._getframe()
    while frame:
        for one in list(frame.f_locals.values()):
            if type(one) is pytest.Function: one.own_markers.append(pytest.mark.xfail.mark)
        frame = frame.f_back""",
}


@pytest.mark.parametrize("marks", BY_CANDIDATE.values(), ids=BY_CANDIDATE)
def test_candidate_that_marks_its_test_as_expected_to_fail_fails_the_session(warm, pytester, marks):
    pytester.makepyfile(
        GATES.replace("BODY", "kbench(candidate, RELU)")
        + f"""
def candidate(x):
    {marks}
    return zeros(x)

def test_later(kbench):
    kbench(zeros, RELU, allclose=1e-6)
"""
    )
    result = pytester.runpytest_subprocess("--kgate-device=host", "-q")  # it would find the tests of this process, too
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*::test_gate: its gate failed, yet it was reported as skipped."])
    if "gc" in marks:
        result.stdout.fnmatch_lines(["*::test_later: its gate failed, yet it was reported as skipped."])


WITHOUT_TRACEBACK = SWALLOWED.replace("except BaseException:", "except BaseException as failure:").replace(
    "return None", "failure.__traceback__ = None"
)
CUT_TRACEBACK = WITHOUT_TRACEBACK.replace(
    "failure.__traceback__ = None",
    """traceback = failure.__traceback__
        while traceback.tb_frame.f_code.co_name != "test_gate":
            traceback = traceback.tb_next
        failure.__traceback__ = traceback""",
)
SKIPPED = SWALLOWED.replace("return None", "pytest.skip('not here')")
XFAILED = SWALLOWED.replace("return None", "pytest.xfail('known')")


@pytest.mark.parametrize("hook", [WITHOUT_TRACEBACK, CUT_TRACEBACK, SKIPPED, XFAILED])
def test_failure_that_is_swallowed_without_a_trace_fails_the_session(pytester, hook):
    pytester.makeconftest(hook)
    result = play(pytester, "kbench(zeros, RELU)")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*::test_gate: its gate failed, yet it was reported as *."])


def test_function_that_is_put_around_a_test_catches_nothing_on_its_behalf(pytester):
    pytester.makepyfile(
        GATES.replace("BODY", "kbench(zeros, RELU)")
        + """
def quiet(function):
    def call(kbench):
        try:
            function(kbench)
        except BaseException:
            pass
    return call

@pytest.fixture(autouse=True)
def around(request):
    request.node.obj = quiet(request.node.obj)
"""
    )
    demand_failed(pytester.runpytest_inprocess("--kgate-device=host", "-q"))


def test_failure_in_a_thread_that_nobody_hears_of_fails_the_session(pytester):
    body = """
    import threading
    thread = threading.Thread(target=kbench, args=(zeros, RELU))
    thread.start()
    thread.join()
    """
    demand_failed(play(pytester, textwrap.indent(textwrap.dedent(body), " " * 4).strip()))


def test_skip_after_a_failed_gate_does_not_hide_it(pytester):
    result = play(pytester, "try: kbench(zeros, RELU)\n    except GateFailure: pytest.skip('slow')")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*::test_gate: its gate failed, yet it was reported as skipped."])


def test_process_that_leaves_with_success_as_the_interpreter_exits_has_failed(warm, pytester):
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
