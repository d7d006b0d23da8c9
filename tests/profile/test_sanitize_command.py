"""What users of `kgate sanitize` see, with a stand-in for compute-sanitizer on PATH."""

from __future__ import annotations

import json
from pathlib import Path

import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)

import pytest_kgate.bench.call
import pytest_kgate.profile.sanitizer.run
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.cli import main
from pytest_kgate.profile.under_tool import program

SEVERAL = """
def test_one(kbench):
    kbench(good, SILU)

def test_bad(kbench):
    kbench(good, SILU)

def test_without_a_kernel():
    assert False, "has nothing to watch"

@pytest.mark.sanitize
def test_marked(kbench):
    kbench(good, SILU)
"""


def test_the_command_runs_all_tests_in_one_process_a_tool_and_each_alone_where_something_is_found(
    suite, tool, monkeypatch, capsys
):
    pytester = suite(SEVERAL)
    monkeypatch.chdir(pytester.path)
    (file,) = pytester.path.glob("test_*.py")
    assert main(["sanitize", file.name, "--tool", "racecheck", "--json", "clean.json"]) == 0
    assert len(tool()) == 1
    assert "racecheck: 3 clean" in capsys.readouterr().out
    assert main(["sanitize", file.name, "--tool", "memcheck", "--json", "found.json"]) == 1
    assert len(tool()) == 1 + 1 + 3
    said = capsys.readouterr().out
    assert "memcheck: 2 clean, 1 with findings" in said
    assert "::test_bad\n    memcheck: Invalid __global__ write" in said
    found = json.loads((pytester.path / "found.json").read_text())
    assert found["schema"] == "pytest-kgate/sanitizer"
    assert [one["verdict"] for one in found["outcomes"]] == ["PASS", "FAIL", "PASS"]
    assert found["outcomes"][1]["findings"][0]["kernel"] == "spoils(float *, int)"


def test_the_command_takes_marked_tests_where_none_is_named_and_hands_its_options_on(suite, tool, monkeypatch, capsys):
    pytester = suite(SEVERAL)
    monkeypatch.chdir(pytester.path)
    assert main(["sanitize", "--tool", "synccheck", "--kernels", "wmma", "--full-size"]) == 0
    assert "synccheck: 1 clean" in capsys.readouterr().out
    (call,) = tool()
    assert call[call.index("--kernel-name") + 1] == "kernel_substring=wmma"
    assert "--report-api-errors" not in call


def test_initcheck_watches_all_kernels_and_shows_those_that_were_asked_for(suite, tool, monkeypatch, capsys):
    """What a library's kernel has written would count as unwritten, were that kernel not watched."""
    pytester = suite(SEVERAL)
    monkeypatch.chdir(pytester.path)
    monkeypatch.setenv("FOUND_BY", "initcheck")
    assert main(["sanitize", "--tool", "initcheck", "--kernels", "wmma"]) == 0
    assert "initcheck: 1 clean" in capsys.readouterr().out
    assert main(["sanitize", "--tool", "initcheck", "--kernels", "spoils"]) == 1
    calls = tool()
    assert calls
    assert all("--kernel-name" not in call for call in calls)


def test_what_one_tool_found_is_kept_when_the_next_is_broken_off(suite, tool, monkeypatch):
    pytester = suite(SEVERAL)
    monkeypatch.chdir(pytester.path)
    monkeypatch.setenv("INTERRUPTS", "synccheck")
    assert main(["sanitize", "--tool", "memcheck", "--tool", "synccheck", "--json", "found.json"]) == 130
    found = json.loads((pytester.path / "found.json").read_text())
    assert [one["tool"] for one in found["outcomes"]] == ["memcheck"]


def test_jobs_give_each_tool_and_each_named_test_a_process_and_keep_their_order(suite, tool, monkeypatch, capsys):
    pytester = suite(SEVERAL)
    monkeypatch.chdir(pytester.path)
    (file,) = pytester.path.glob("test_*.py")
    named = [f"{file.name}::test_bad", f"{file.name}::test_one"]
    arguments = ["--tool", "racecheck", "--tool", "memcheck", "--jobs", "3", "--json", "found.json"]
    assert main(["sanitize", *named, *arguments]) == 1
    assert len(tool()) == 4
    said = capsys.readouterr().out
    assert "racecheck: 2 clean" in said
    assert "memcheck: 1 clean, 1 with findings" in said
    found = json.loads((pytester.path / "found.json").read_text())["outcomes"]
    assert [(one["tool"], one["test"], one["verdict"]) for one in found] == [
        ("racecheck", named[0], "PASS"),
        ("racecheck", named[1], "PASS"),
        ("memcheck", named[0], "FAIL"),
        ("memcheck", named[1], "PASS"),
    ]


def test_jobs_that_are_broken_off_leave_no_process(suite, tool, monkeypatch):
    pytester = suite(SEVERAL)
    monkeypatch.chdir(pytester.path)
    monkeypatch.setenv("INTERRUPTS", "synccheck")
    monkeypatch.setenv("HANGS", "memcheck")
    children = pytester.path / "children"
    monkeypatch.setenv("CHILDREN", str(children))
    assert main(["sanitize", "--tool", "memcheck", "--tool", "synccheck", "--jobs", "2"]) == 130
    left = [pid for pid in children.read_text().split() if Path(f"/proc/{pid}").exists()]
    assert len(children.read_text().split()) == 2
    assert not left


def test_the_command_without_tool_or_tests_says_what_to_do(tmp_path, tool, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_none.py").write_text("def test_it():\n    pass\n")
    assert main(["sanitize", "test_none.py", "--tool", "memcheck"]) == 2
    assert "no test to watch" in capsys.readouterr().err
    monkeypatch.setattr(program, "_candidates", lambda name: iter(()))
    assert main(["sanitize", "test_none.py"]) == 2
    assert "was not found" in capsys.readouterr().err
