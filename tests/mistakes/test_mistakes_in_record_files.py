"""Files of records that can't be written, and sessions that end early: what is said, and where the records are."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from user_session import AFTER
from user_session import BEFORE
from user_session import seen

import pytest_kgate.bench.call
import pytest_kgate.build.kernel
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.report.record.document import load

NOT_POSIX = not hasattr(os, "fork")


def test_records_in_a_directory_are_refused_before_anything_runs(play, folder):
    folder.mkdir("results")
    result = play("", "--kgate-json=results")
    assert result.status == pytest.ExitCode.USAGE_ERROR
    result.says("--kgate-json names a directory:", "Name a file in it: results/records.json.")


def test_file_of_something_else_is_not_overwritten_by_records(play, folder):
    (folder.path / "notes.json").write_text('{"mine": 1}')
    result = play("", "--kgate-json=notes.json")
    assert result.status == pytest.ExitCode.USAGE_ERROR
    result.says("notes.json exists and holds something else than records; it was left as it is.", "another path")
    assert (folder.path / "notes.json").read_text() == '{"mine": 1}'


@pytest.mark.skipif(NOT_POSIX, reason="needs POSIX resource limits")
def test_full_disk_while_writing_saves_the_rest_elsewhere_and_says_where(play, folder, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(folder.path))
    result = play(
        """
        def test_mistake(kbench):
            import os, resource
            kbench(good, RELU, name="first")
            kbench(good, RELU, name="second")  # the limit holds for every file, and two records must fit into another
            room = os.path.getsize("records.json") + 1000
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            kbench(good, RELU, name="too much")
        """,
        apart=True,
    )
    assert result.outcomes == {"passed": 3}
    result.says("records.json could not be written (File too large); 2 of 5 records are in")
    result.says("5 MEASURED")  # the table is there
    assert result.status == pytest.ExitCode.TESTS_FAILED
    (elsewhere,) = folder.path.glob("kgate-records-*.json")
    assert result.names == ["before", "first", "second"]
    assert [record["candidate"]["name"] for record in load(elsewhere)] == ["too much", "after"]


@pytest.mark.skipif(NOT_POSIX, reason="needs POSIX resource limits")
def test_full_disk_at_the_end_leaves_the_earlier_page_whole(play, folder):
    page = folder.path / "page.html"
    page.write_text("<!doctype html><p>of yesterday")
    result = play(
        """
        def test_mistake(kbench):
            import os, resource
            kbench(good, RELU)
            room = os.path.getsize("records.json") + 20_000
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        """,
        "--kgate-html=page.html",
        apart=True,
    )
    assert result.outcomes == {"passed": 3}
    result.says("page.html: File too large. All else of the session stands.")
    assert page.read_text() == "<!doctype html><p>of yesterday"
    assert not list(folder.path.glob(".page.html.*"))


@pytest.mark.skipif(NOT_POSIX, reason="needs POSIX signals")
def test_interrupt_in_mid_race_leaves_the_records_so_far(folder):
    folder.makepyfile(
        test_it=BEFORE
        + textwrap.dedent("""
        import pathlib
        import random
        import time

        def slow(x):
            time.sleep(random.uniform(0.001, 0.02))  # never precise enough to stop by itself before the signal comes
            slow.calls = getattr(slow, "calls", 0) + 1
            if slow.calls == 50:
                pathlib.Path("racing").touch()
            return torch.relu(x)

        def test_mistake(kbench):
            kbench(slow, RELU, budget=60)
        """)
        + AFTER
    )
    command = [sys.executable, "-m", "pytest", "--kgate-device=host", "--kgate-json=records.json"]
    process = folder.popen(command, subprocess.PIPE, subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        latest = time.monotonic() + 60
        while not (folder.path / "racing").exists() and process.poll() is None:
            assert time.monotonic() < latest
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    result = seen(folder.path / "records.json", printed.decode(), process.returncode)
    assert result.status == pytest.ExitCode.INTERRUPTED
    assert result.names == ["before"]
    assert re.search(r"test_it\.py:\d+: KeyboardInterrupt", result.text)
    result.says("records: ", "records.json")
