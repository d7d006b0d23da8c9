"""A test may catch the failure of its gate, or expect it: that is no tampering."""

from __future__ import annotations

import pytest
from sample_suite import ZEROS

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401

CAUGHT = (
    ZEROS
    + """
import contextlib
import functools

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
import unittest

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
