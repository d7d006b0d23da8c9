from __future__ import annotations

import json
import os
import sys

import pytest
from sample_suite import fake_device
from stand_in_ncu import PROGRAM
from stand_in_ncu import TESTS

from pytest_kgate.profile.nsight.collection import refusals


@pytest.fixture
def watched_python(warm_program):
    """What runs the tests that ncu watches: forked from a process that has PyTorch, unless a test says otherwise."""
    return warm_program


@pytest.fixture
def ncu(tmp_path, monkeypatch, watched_python):
    """The stand-in is the only ncu; returns the command lines that it was started with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    stand_in = folder / "ncu"
    stand_in.write_text(PROGRAM.format(own=sys.executable, python=watched_python))
    monkeypatch.setattr(sys, "executable", watched_python)
    stand_in.chmod(0o755)
    calls = tmp_path / "calls.jsonl"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(calls))
    monkeypatch.setenv("KGATE_LOCK_DIR", str(tmp_path))  # the name of a device that is none may be held by other tests
    monkeypatch.setattr(refusals, "_PARAMETERS", tmp_path / "params")
    monkeypatch.setitem(sys.modules, "ncu_report", None)  # the stand-in's reports are none that it could read
    return lambda: [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []


@pytest.fixture
def suite(pytester):
    """A user's tests, on a device that says it is a GPU."""

    def write(body=TESTS):
        pytester.makeconftest(fake_device(kind="cuda"))
        pytester.makepyfile(test_mine=body)
        return pytester

    return write
