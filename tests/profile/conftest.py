from __future__ import annotations

import textwrap

import pytest
from sample_suite import fake_device
from stand_in import PRELUDE
from stand_in import TOOL
from stand_in_program import install

from pytest_kgate.profile.under_tool import program


@pytest.fixture
def tool(tmp_path, monkeypatch, warm_program):
    """The stand-in is the only compute-sanitizer; returns the command lines that it was started with.

    It is a process as any, and what it runs is forked: the sessions that it is to watch.
    """
    return install("compute-sanitizer", TOOL, tmp_path, monkeypatch, warm_program)


@pytest.fixture
def no_tool(monkeypatch):
    monkeypatch.setattr(program, "_candidates", lambda name: iter(()))


@pytest.fixture
def suite(pytester):
    def write(body):
        pytester.makeconftest(fake_device(kind="cuda"))
        pytester.makepyfile(PRELUDE + textwrap.dedent(body))
        return pytester

    return write
