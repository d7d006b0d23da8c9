from __future__ import annotations

import json
import os
import sys
import textwrap

import pytest
from sample_suite import fake_device
from stand_in import PRELUDE
from stand_in import TOOL

from pytest_kgate.profile.under_tool import program


@pytest.fixture
def tool(tmp_path, monkeypatch, warm_program):
    """The stand-in is the only compute-sanitizer; returns the command lines that it was started with.

    It is a process as any, and what it runs is forked: the sessions that it is to watch.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    stand_in = folder / "compute-sanitizer"
    stand_in.write_text(TOOL.format(own=sys.executable, python=warm_program))
    monkeypatch.setattr(sys, "executable", warm_program)
    stand_in.chmod(0o755)
    calls = tmp_path / "calls.jsonl"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(calls))
    return lambda: [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []


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
