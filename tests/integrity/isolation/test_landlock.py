"""What a confined process may still do: what CUDA's driver needs, and nothing outside of its own folder."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pytest_kgate.integrity.isolation.process.confinement.landlock import landlock_version

if sys.platform != "linux" or not landlock_version():
    pytest.skip("no Landlock here", allow_module_level=True)

CONFINED = """
import os, sys, threading
from pathlib import Path
from pytest_kgate.integrity.isolation.process.confinement.landlock import apply_landlock

apply_landlock(Path(sys.argv[1]), cuda=True)
end = threading.Event()
thread = threading.Thread(target=end.wait)
thread.start()
try:
    with open(sys.argv[2].format(thread=thread.native_id, parent=os.getppid()), "w") as file:
        file.write("named")
finally:
    end.set()
"""


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/proc/self/task/{thread}/comm", True),
        ("{own}/file", True),
        ("/dev/null", True),
        ("/proc/{parent}/comm", False),
        ("/proc/self/oom_score_adj", False),
        ("/dev/shm/kgate-of-a-confined-process", False),
        ("{other}/file", False),
    ],
)
def test_confined_process_names_its_threads_and_writes_nowhere_else(tmp_path, path, allowed):
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    path = path.replace("{own}", str(own)).replace("{other}", str(other))
    run = subprocess.run([sys.executable, "-c", CONFINED, str(own), path], capture_output=True, text=True, check=False)
    assert (run.returncode == 0) is allowed, run.stderr
    assert allowed or "PermissionError" in run.stderr
