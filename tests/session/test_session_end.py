"""The end of a session whose records can't be shown: pytest says all the same how its tests ended."""

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
