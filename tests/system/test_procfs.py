"""Processes and threads as Linux tells of them, whatever they are called."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pytest_kgate.system import procfs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")


def test_name_with_brackets_and_spaces_is_no_field(tmp_path: Path) -> None:
    odd = tmp_path / "a) (b 7"
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([odd, "60"]) as child:
        try:
            name, fields = procfs.stat(child.pid)
            assert name == "a) (b 7"
            assert fields[0] in "SRD"
            assert int(fields[1]) == os.getpid()
            assert child.pid in dict(procfs.processes())
        finally:
            child.kill()
    with pytest.raises(OSError, match="o such"):
        procfs.stat(child.pid)


def test_threads_are_those_of_this_process() -> None:
    ends = threading.Event()
    other = threading.Thread(target=ends.wait)
    other.start()
    try:
        found = {thread: fields for thread, _, fields in procfs.threads()}
        assert other.native_id in found
        assert found[threading.get_native_id()][0] == "R"
    finally:
        ends.set()
        other.join()
