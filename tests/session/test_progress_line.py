"""The line that shows a race's progress, on a real pseudo-terminal."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sample_suite import RELU

from pytest_kgate.system.gpu_lease import leased

pytestmark = pytest.mark.usefixtures("warm")

pty = pytest.importorskip("pty", reason="needs a POSIX pseudo-terminal")

SLOW_RACE = """
import time
import torch
from pytest_kgate import Problem

def slow_relu(x):
    time.sleep(0.005)
    return torch.relu(x)

RELU = Problem(
    name="relu",
    inputs=lambda g: (torch.randn(64, generator=g),),
    reference=slow_relu,
    exact=lambda x: torch.relu(x.double()),
)

def test_before():
    pass

def test_slow(kbench):
    kbench(slow_relu, RELU)

def test_after():
    pass
"""


def shown(folder, terminal):
    """All that pytest writes, to a terminal or to a pipe; a race is as long as a line needs to be drawn a few times."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", str(folder)]
    command.append("--kgate-budget=2")
    if not terminal:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    master, slave = os.openpty()
    with subprocess.Popen(command, cwd=folder, stdout=slave, stderr=slave) as process:
        os.close(slave)
        parts = []
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # Linux reports the closed other end this way
                break
            if not part:
                break
            parts.append(part)
    os.close(master)
    assert process.returncode == 0
    return b"".join(parts).decode()


def test_progress_is_shown_on_a_terminal_and_wiped_out_afterwards(tmp_path):
    (tmp_path / "test_race.py").write_text(SLOW_RACE)
    text = shown(tmp_path, terminal=True)
    assert "test_slow: round " in text
    last_progress = text.rindex("test_slow: round ")
    assert "\x1b[2K" in text[last_progress:]
    assert "3 passed" in text[last_progress:]


def test_nothing_is_redrawn_in_a_log(tmp_path):
    (tmp_path / "test_race.py").write_text(SLOW_RACE)
    text = shown(tmp_path, terminal=False)
    assert "round " not in text.replace("rounds", "")
    assert "\x1b" not in text


TOO_TIGHT = (
    RELU
    + """
from pytest_kgate.bench.race.calibration.device_calibration import Calibration, save
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.fake.noise import White

@pytest.fixture(scope="session")
def kgate_device():
    known = {"budget_seconds": 10.0, "gates": 1000, "false_passes": 0, "false_fails": 0, "accepted": True}
    save(Calibration("fake", "fake", "hot", "2026-01-02", noise_floor={}, resolved=((1e-5, 0.01),), **known))
    return FakeDevice({"candidate": 0.8e-5, "reference": 1e-5}, White(0.01))

@pytest.mark.speedup(0.999)
def test_tight(kbench):
    kbench(torch.relu, RELU)
"""
)


def test_too_tight_bound_is_said_at_once_on_a_terminal(tmp_path, monkeypatch):
    monkeypatch.setenv("KGATE_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "test_tight.py").write_text(TOO_TIGHT)
    written = shown(tmp_path, terminal=True)
    said = written.index("test_tight: the bound 0.999 is 0.10 %")
    assert said < written.index("gate ")  # before the summary's table, which says it again
    assert "test_tight: the bound" not in shown(tmp_path, terminal=False)


WAITS = (
    RELU
    + """
from pytest_kgate.system import gpu_lease

gpu_lease._SAY_AFTER_SECONDS = 0.05

def test_waits(kbench):
    kbench(torch.relu, RELU, timeout=0.2)
"""
)


def test_wait_for_another_session_is_told_in_a_log_too(tmp_path, monkeypatch):
    monkeypatch.setenv("KGATE_LOCK_DIR", str(tmp_path))
    (tmp_path / "test_waits.py").write_text(WAITS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--kgate-device=host"]
    narrow = {**os.environ, "COLUMNS": "60"}
    with leased("host", 0):
        printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=narrow).stdout
    waits = printed[printed.index("test_waits: ") :].split("`")[0]  # a command is not broken
    assert max(map(len, waits.splitlines())) <= 60
    text = " ".join(printed.split())
    told = text.index(f"test_waits: waiting for another process that times on host: process {os.getpid()}, `")
    assert told < text.index("Another process has been timing on host for more than 0.2 s")
