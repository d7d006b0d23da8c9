"""One session times on a device: others wait, say for whom, and find the lock whatever their TMPDIR and user."""

from __future__ import annotations

import concurrent.futures
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_kgate.errors import TimingError
from pytest_kgate.errors import UsageError
from pytest_kgate.system import gpu_lease
from pytest_kgate.system.folders import shared_folder
from pytest_kgate.system.gpu_lease import leased

HOLDS = """
import sys
from pytest_kgate.system.gpu_lease import leased
with leased("it", 10):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path, monkeypatch):
    monkeypatch.setenv("KGATE_LOCK_DIR", str(tmp_path))
    monkeypatch.setattr(gpu_lease, "_SAY_AFTER_SECONDS", 0.1)
    return tmp_path / "pytest-kgate-it.lock"


@pytest.fixture
def holder(lock, tmp_path_factory):
    """Another session, whose temporary folder is its own."""
    environment = {**os.environ, "TMPDIR": str(tmp_path_factory.mktemp("other"))}
    command = [sys.executable, "-c", HOLDS, "--kgate-budget=7"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process


def test_wait_is_told_once_with_process_command_and_time(holder):
    told = []
    with pytest.raises(TimingError) as error, leased("it", 0.4, told.append):
        pass
    (text,) = told
    for part in (f"process {holder.pid}", "--kgate-budget=7", f"since {time.strftime('%Y-')}"):
        assert part in text
        assert part in error.value.what


def test_holder_that_runs_a_module_is_named_as_it_was_started(lock, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/far/site-packages/pytest/__main__.py", "-m", "perf"])
    with leased("it", 0):
        assert '"python -m pytest -m perf"' in lock.read_text()


def test_thread_that_holds_the_lock_is_told_so_instead_of_waiting_for_itself(lock):
    with leased("it", 0), pytest.raises(UsageError, match="kbench was called within a call of kbench"), leased("it", 9):
        pass
    with leased("it", 0):  # it was given back all the same
        pass


def test_other_thread_waits_for_this_one_and_says_so(lock):
    told = []

    def other():
        said = "Another thread of this process has been timing on it"
        with pytest.raises(TimingError, match=said), leased("it", 0.4, told.append):
            pass
        return True

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with leased("it", 0):
            assert pool.submit(other).result()
        (text,) = told
        assert text.startswith("waiting for another thread of this process that times on it: ")


def test_lock_is_free_once_its_holder_was_killed(holder):
    holder.kill()
    holder.wait()
    with leased("it", 0):
        pass


def test_short_wait_is_not_worth_a_word(lock):
    told = []
    with leased("it", 0, told.append):
        pass
    assert told == []
    assert lock.read_text() == ""


def test_every_user_may_open_the_lock(lock):
    before = os.umask(0o077)
    try:
        with leased("it", 0):
            assert stat.S_IMODE(lock.stat().st_mode) == 0o666
    finally:
        os.umask(before)
    assert [path.name for path in lock.parent.iterdir()] == [lock.name]


def test_lock_that_cannot_be_opened_is_named_with_a_cure(lock):
    lock.mkdir()
    with pytest.raises(TimingError) as error, leased("it", 0):
        pass
    assert "pytest-kgate-it.lock can't be opened: Is a directory." in error.value.what
    assert "KGATE_LOCK_DIR" in error.value.todo


def test_who_holds_it_is_shown_as_printable_text(lock):
    lock.write_text('{"pid": 1, "command": "evil \\u001b[2J", "since": "now"}')
    with lock.open() as file:
        assert gpu_lease._holder(file.fileno()) == "process 1, `evil ?[2J`, since now"


def test_folder_is_the_same_for_all_users_and_temporary_folders(monkeypatch, tmp_path):
    monkeypatch.delenv("KGATE_LOCK_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for_all, for_one = tmp_path / "all", tmp_path / "one"
    for folder, mode in ((for_one, 0o755), (for_all, 0o1777)):
        folder.mkdir()
        folder.chmod(mode)
    monkeypatch.setattr(shared_folder, "_FOLDERS", (str(tmp_path / "missing"), str(for_one), str(for_all)))
    assert shared_folder.shared_folder() == for_all
    monkeypatch.setattr(shared_folder, "_FOLDERS", (str(for_one),))
    assert shared_folder.shared_folder() == Path("/tmp")
