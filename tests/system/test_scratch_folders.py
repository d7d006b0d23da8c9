"""Folders of child processes: a killed process's is removed by the next, and nobody else's ever is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_kgate.system.folders import scratch
from pytest_kgate.system.folders.scratch import remove_leftovers

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs locks of files")

_HOLDS = """
import sys, time
from pytest_kgate.system.folders.scratch import scratch
with scratch("process") as folder:
    open(f"{folder}/task.json", "w").close()
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "_swept", set())
    return tmp_path


def held(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has such a folder, and the folder."""
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen([sys.executable, "-c", _HOLDS], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_folder_of_a_killed_process_is_removed_by_the_next_one(temporary: Path) -> None:
    process, left = held(temporary)
    with process:
        process.send_signal(signal.SIGKILL)
    assert (left / "task.json").exists()
    with scratch.scratch("process") as own:
        assert [*temporary.iterdir()] == [Path(own)]
    assert not [*temporary.iterdir()]


def test_folder_of_a_process_that_lives_stays(temporary: Path) -> None:
    process, kept = held(temporary)
    with process, scratch.scratch("process"):
        remove_leftovers(temporary)
        assert (kept / "task.json").exists()
        process.kill()


def test_what_is_not_known_to_be_left_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (temporary / "kgate-process-made").mkdir()  # a moment ago: it has no lock yet
    (temporary / "kgate-process-new").mkdir()
    (temporary / "kgate-process-new" / ".kgate-in-use.new").touch()
    (temporary / "kgate-records-1.json").touch()
    other = temporary / "mine"
    other.mkdir()
    (other / ".kgate-in-use").touch()
    (temporary / "kgate-process-link").symlink_to(other)
    before = sorted(temporary.rglob("*"))
    remove_leftovers(temporary)
    assert sorted(temporary.rglob("*")) == before
    left = temporary / "kgate-process-left"
    left.mkdir()
    (left / ".kgate-in-use").touch()
    with monkeypatch.context() as patched:
        patched.setattr(os, "getuid", lambda: left.stat().st_uid + 1)
        remove_leftovers(temporary)
    assert left.exists()
    remove_leftovers(temporary)
    assert not left.exists()


def test_forked_process_leaves_the_folder_to_its_parent(temporary: Path) -> None:
    block = scratch.scratch("process")
    own = Path(block.__enter__())
    child = os.fork()
    if not child:
        block.__exit__(None, None, None)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert own.is_dir()
    block.__exit__(None, None, None)
    assert not own.exists()
