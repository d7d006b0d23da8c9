"""A program of NVIDIA's for tests: a script in a folder that stands first in PATH, and a note of each of its starts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kgate.bench.processes import variable


def install(
    name: str, script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str
) -> Callable[[], list[list[str]]]:
    """Make it the only program of this name; returns a function that gives the command lines it was started with.

    `script` is filled in with the Python of these tests, `own`, and with that of the sessions it watches, `python`.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    stand_in = folder / name
    stand_in.write_text(script.format(own=sys.executable, python=python))
    monkeypatch.setattr(sys, "executable", python)
    stand_in.chmod(0o755)
    calls = tmp_path / "calls.jsonl"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(calls))
    # Sessions under the program get the environment that the session of these tests began with, where it has one.
    monkeypatch.setattr(variable, "_OF_THE_SESSION", {})
    return lambda: [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
