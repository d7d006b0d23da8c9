"""The session of an attempt ends as the same session would elsewhere, forked or in a new process."""

from __future__ import annotations

import os

import pytest

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.validation.cheats import attempt

TEST = """
def test_one(kbench, request):
    assert request.config.getoption("--kgate-device") == "host"
    assert {holds}
"""


@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("how", ["forked", "spawned"])
def test_session_ends_with_its_own_status(request, tmp_path, how, holds):
    if holds:  # the other one meets a new process as users have it
        request.getfixturevalue("warm")
    (tmp_path / "test_cheat.py").write_text(TEST.format(holds=holds))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    start = {"forked": attempt._forked, "spawned": attempt._spawned}[how]
    _, status = os.waitpid(start(tmp_path, "host", True, False), 0)
    assert os.waitstatus_to_exitcode(status) == (0 if holds else 1), (tmp_path / "output.txt").read_text()
