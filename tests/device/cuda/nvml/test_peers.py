"""Whose processes are on a GPU; real processes, a made-up list of those on the GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_kgate.device.cuda.nvml.peers import Peers

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc, as on Linux")

ELSEWHERE = 2**22 + 7
"""No process has this id: Linux's largest is 2**22."""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KGATE_LOCK_DIR", str(tmp_path))


@pytest.fixture
def start():
    """Start Python code that says a line; it ends with the test. Returns the process and the line."""
    running = []

    def run(code, **keywords):
        process = subprocess.Popen(
            [sys.executable, "-c", code + "\nimport sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **keywords,
        )
        running.append(process)
        return process, process.stdout.readline().strip()

    yield run
    for process in running:
        process.communicate()


def test_this_process_its_parents_and_its_children_are_ours(start):
    child, _ = start("print('up', flush=True)")
    assert Peers("GPU-1").count_others([os.getpid(), os.getppid(), child.pid]) == 0


def test_any_other_process_is_foreign():
    assert Peers("GPU-1").count_others([os.getpid(), ELSEWHERE, ELSEWHERE + 1]) == 2


def test_peer_on_the_same_gpu_takes_turns_and_is_not_foreign(start):
    peers = Peers("GPU-1")
    code = "from pytest_kgate.device.cuda.nvml.peers import Peers; Peers({!r}); print('up', flush=True)"
    other, _ = start(code.format("GPU-1"))
    elsewhere, _ = start(code.format("GPU-2"))
    assert peers.alive() == {os.getpid(), other.pid}
    assert elsewhere.pid not in peers.alive()


def test_peer_that_was_killed_is_forgotten(start, tmp_path):
    peers = Peers("GPU-1")
    other, _ = start("from pytest_kgate.device.cuda.nvml.peers import Peers; Peers('GPU-1'); print('up', flush=True)")
    assert other.pid in peers.alive()
    other.kill()
    other.wait()
    assert peers.alive() == {os.getpid()}
    assert len(list(tmp_path.glob("*GPU-1.peers/*"))) == 1


def test_where_ids_are_those_of_the_host_only_their_number_counts():
    peers = Peers("GPU-1")
    assert peers.count_others([ELSEWHERE]) == 0
    assert peers.count_others([ELSEWHERE, ELSEWHERE + 1]) == 1
    assert peers.count_others([]) == 0
