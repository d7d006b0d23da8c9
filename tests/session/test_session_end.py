"""The end of a session: what is counted and written, and where it can't be shown, that pytest says how tests ended."""

from __future__ import annotations

import pytest

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.session.session import SESSION

CHECKED = """
@pytest.mark.perf
@pytest.mark.allclose(1e-6)
def test_right(kbench):
    kbench(good, RELU)
"""


class Spoil:
    """Leaves a record of which no table can be made."""

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        session.config.stash[SESSION].records.append({"verdict": "PASS"})


def test_table_that_cannot_be_made_does_not_take_the_end_along(suite):
    result = suite(CHECKED).runpytest_inprocess("--kgate-json=records.json", plugins=[Spoil()])
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["The table of 2 records could not be made (KeyError: *). The file of --kgate-*"])
    result.stdout.fnmatch_lines(["records: *records.json"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


@pytest.mark.parametrize("more", [(), ("-n1", "-p", "no:cacheprovider")], ids=["alone", "xdist"])
def test_tests_that_failed_without_a_record_are_counted(warm, suite, more):
    body = """
    def test_gate(kbench):
        kbench(good, RELU)

    def test_fails_behind_its_gate(kbench):
        kbench(good, RELU)
        assert False

    @pytest.mark.parametrize("name", ["a.cu", "b.cu"])
    def test_no_such_file(kbench, kernels, name):
        kbench(kernels(name), RELU)

    @pytest.fixture
    def broken():
        raise RuntimeError

    @pytest.mark.perf
    def test_never_begins(kbench, broken): ...

    @pytest.mark.xfail
    def test_is_to_fail(kbench):
        assert False

    def test_of_something_else():
        assert False
    """
    pytester = suite(body)
    if more:
        pytest.importorskip("xdist", reason="needs pytest-xdist")
    result = (pytester.runpytest_subprocess if more else pytester.runpytest_inprocess)(*more)
    result.assert_outcomes(passed=1, failed=4, errors=1, xfailed=1)
    result.stdout.fnmatch_lines(["2 MEASURED, 3 tests failed before they were judged"])
    one = pytester.runpytest_inprocess("-k", "gate or begins")
    one.stdout.fnmatch_lines(["2 MEASURED, 1 test failed before it was judged"])


def test_page_is_written_at_the_end(suite):
    pytester = suite(CHECKED)
    result = pytester.runpytest_inprocess("--kgate-html=new/page.html")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["page: *page.html"])
    written = (pytester.path / "new" / "page.html").read_bytes()
    pytester.runpytest_inprocess("--kgate-html=new/page.html", "--collect-only")
    assert (pytester.path / "new" / "page.html").read_bytes() == written  # nothing was raced


def test_page_that_can_not_be_written_leaves_the_result(suite):
    pytester = suite(CHECKED + "    __import__('os').mkdir('page.html')\n")
    result = pytester.runpytest_inprocess("--kgate-html=page.html")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["The page can't be written to *page.html: Is a directory. All else of the session stands."]
    )
