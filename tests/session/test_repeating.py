"""The command that a failure prints runs the same test in the same way, from where pytest was started."""

from __future__ import annotations

import re
import shlex

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from sample_suite import fake_device
from user_session import BEFORE

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.report.record.document import load

CONFTEST = (
    fake_device(1.2)
    + """
def pytest_addoption(parser):
    parser.addoption("--size", type=int, default=0)

def pytest_generate_tests(metafunc):
    if "size" in metafunc.fixturenames:
        metafunc.parametrize("size", [metafunc.config.getoption("size")], ids=lambda size: f"it's {size} [wide]")
"""
)

SLOW = """
@pytest.mark.slow
@pytest.mark.speedup(0.95)
def test_slow(kbench, size):
    assert size == 3
    kbench(good, RELU)
"""


def again(text: str) -> list[str]:
    """The arguments of the last printed command, without the program."""
    line = re.findall(r"^  again +(.*)$", text, re.MULTILINE)[-1]
    return shlex.split(line.partition("pytest ")[2])


@pytest.fixture
def started_in_a_subfolder(pytester, monkeypatch):
    """A project whose tests lie beside the folder in which pytest is started; other options come from everywhere."""
    pytester.makefile(".ini", pytest="[pytest]\nmarkers = slow\naddopts = -p no:cacheprovider -m 'not slow'\n")
    tests = pytester.mkdir("my tests")
    (tests / "conftest.py").write_text(CONFTEST)
    (tests / "test_it.py").write_text(BEFORE + SLOW)
    (tests / "tox.ini").write_text("[pytest]\n")  # nearer to the test than the project's own
    monkeypatch.chdir(pytester.mkdir("elsewhere"))
    return pytester


def test_command_repeats_the_test_with_all_options_from_where_pytest_was_started(started_in_a_subfolder, monkeypatch):
    session = started_in_a_subfolder
    monkeypatch.setenv("KGATE_BUDGET", "3")
    given = ["../my tests", "-m", "slow", "--size", "3", "--kgate-timeout=200", "--kgate-seed", "7"]
    junit = ["--junitxml=all.xml", "--junit-xml", "all.xml"]
    first = session.runpytest_inprocess("--rootdir=..", "-c", "../pytest.ini", *given, "--kgate-json=all.json", *junit)
    first.assert_outcomes(failed=1, deselected=1)
    command = again(first.stdout.str())
    assert command[0] == "../my tests/test_it.py::test_slow[it's 3 [wide]]"
    assert not any("json" in argument or "xml" in argument for argument in command)
    monkeypatch.delenv("KGATE_BUDGET")
    second = session.runpytest_inprocess(*command, "--kgate-json=one.json")
    second.assert_outcomes(failed=1)
    (one,), (other,) = load("all.json"), load("one.json")
    assert one["seeds"] == other["seeds"]
    assert one["timing"]["budget_seconds"] == other["timing"]["budget_seconds"] == 3
    assert one["timing"]["candidate"] == other["timing"]["candidate"]


def test_ini_file_is_named_where_another_is_nearer_to_the_test(started_in_a_subfolder, monkeypatch):
    session = started_in_a_subfolder
    monkeypatch.chdir(session.path)
    first = session.runpytest_inprocess("-m", "slow", "--size=3", "elsewhere", "my tests")
    command = again(first.stdout.str())
    assert command[command.index("-c") + 1] == "pytest.ini"
    session.runpytest_inprocess(*command).assert_outcomes(failed=1)
