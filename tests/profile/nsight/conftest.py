from __future__ import annotations

import sys

import pytest
from sample_suite import fake_device
from stand_in_ncu import PROGRAM
from stand_in_ncu import TESTS
from stand_in_program import install

from pytest_kgate.profile.nsight.collection import refusals


@pytest.fixture
def watched_python(warm_program):
    """What runs the tests that ncu watches: forked from a process that has PyTorch, unless a test says otherwise."""
    return warm_program


@pytest.fixture
def ncu(tmp_path, monkeypatch, watched_python):
    """The stand-in is the only ncu; returns the command lines that it was started with."""
    started = install("ncu", PROGRAM, tmp_path, monkeypatch, watched_python)
    monkeypatch.setenv("KGATE_LOCK_DIR", str(tmp_path))  # the name of a device that is none may be held by other tests
    monkeypatch.setattr(refusals, "_PARAMETERS", tmp_path / "params")
    monkeypatch.setitem(sys.modules, "ncu_report", None)  # the stand-in's reports are none that it could read
    return started


@pytest.fixture
def suite(pytester):
    """A user's tests, on a device that says it is a GPU."""

    def write(body=TESTS):
        pytester.makeconftest(fake_device(kind="cuda"))
        pytester.makepyfile(test_mine=body)
        return pytester

    return write
