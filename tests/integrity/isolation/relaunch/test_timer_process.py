"""The timer's process may hang or die with a candidate's kernel; the judging process says so and goes on."""

from __future__ import annotations

import sys

import pytest

from pytest_kgate.errors import CandidateError
from pytest_kgate.integrity.isolation.process.judge.guard import children
from pytest_kgate.integrity.isolation.relaunch import timer_process

if sys.platform != "linux":
    pytest.skip("isolation needs Linux", allow_module_level=True)


class Device:
    """What the process is told of a device."""

    timeout_seconds = 2.0

    def admit(self, pid: int) -> None:
        """Let it in."""


def _process(monkeypatch, code):
    monkeypatch.setattr(timer_process, "_TIMER", (sys.executable, "-c", code))
    return timer_process.TimerProcess(Device())


def test_process_that_never_answers_is_killed(monkeypatch):
    before = children()
    process = _process(monkeypatch, "import time; time.sleep(1000)")
    with pytest.raises(CandidateError, match="hung"):
        process.sample((1, 2))
    assert children() == before
    process.close()


def test_process_that_dies_is_a_fault_with_its_last_words(monkeypatch):
    process = _process(monkeypatch, "import sys; sys.exit('out of order')")
    with pytest.raises(timer_process.Faulted, match="out of order"):
        process.sample((1, 2))
    process.close()
