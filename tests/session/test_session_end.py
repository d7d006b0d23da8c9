"""The end of a session whose records can't be shown: pytest says all the same how its tests ended."""

from __future__ import annotations

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401

CHECKED = """
@pytest.mark.perf
@pytest.mark.allclose(1e-6)
def test_right(kbench):
    kbench(good, RELU)
"""


def test_table_that_cannot_be_made_does_not_take_the_end_along(suite, monkeypatch):
    def refuse(*_):
        raise ValueError("Unknown format code 'e'")

    monkeypatch.setattr(pytest_kgate.report.text.summary, "summary_table", refuse)
    result = suite(CHECKED).runpytest_inprocess("--kgate-json=records.json")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["The table of 1 record could not be made (ValueError: Unknown format code 'e')*"])
    result.stdout.fnmatch_lines(["records: *records.json"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
