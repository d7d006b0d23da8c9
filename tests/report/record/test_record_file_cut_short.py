"""The file of records survives what ends a session, or its room on the disk, early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import sample_records
from sample_records import session

from pytest_kgate.errors import UsageError
from pytest_kgate.report.record.document import load
from pytest_kgate.report.record.document import merge
from pytest_kgate.report.record.file import RecordFile

as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="mounts a tmpfs"
)


def run_python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environment,
        cwd=Path(sample_records.__file__).parent,
    )


APPEND_FOREVER = """
    import sys
    from sample_records import speed_record
    from pytest_kgate.report.record.file import RecordFile

    file = RecordFile(sys.argv[1])
    record = speed_record(rounds=96)
    for number in range(100_000):
        file.append(record | {"call": number})
        print(number, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("after", [1, 5, 23])
@pytest.mark.filterwarnings("ignore:.* ends in the middle of a record")  # where the kill hit the very write
def test_killed_session_leaves_a_whole_file(tmp_path: Path, after: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(APPEND_FOREVER), str(tmp_path / "r.json")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(sample_records.__file__).parent,
    )
    assert process.stdout is not None
    with process:
        for _ in range(after):
            process.stdout.readline()
        process.kill()
    found = load(tmp_path / "r.json")
    assert len(found) >= after
    assert [record["call"] for record in found] == list(range(len(found)))


def test_ctrl_c_leaves_a_whole_file(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(APPEND_FOREVER), str(tmp_path / "r.json")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(sample_records.__file__).parent,
    )
    assert process.stdout is not None
    with process:
        for _ in range(7):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert len(load(tmp_path / "r.json")) >= 7


def test_hard_exit_without_close_loses_nothing(tmp_path: Path) -> None:
    run = run_python(
        """
        import os, sys
        from sample_records import session
        from pytest_kgate.report.record.file import RecordFile
        file = RecordFile(sys.argv[1])
        for record in session():
            file.append(record)
        os._exit(3)
        """,
        tmp_path / "r.json",
    )
    assert run.returncode == 3, run.stderr
    assert load(tmp_path / "r.json") == session()


WRITE_UNTIL_FULL = """
    import json, sys
    from pathlib import Path
    from sample_records import speed_record
    from pytest_kgate.report.record.file import RecordFile
    from pytest_kgate.report.record.document import load

    path = Path(sys.argv[1])
    file = RecordFile(path)
    if sys.argv[2]:
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    for number in range(12):
        file.append(speed_record(rounds=96, call=number))
        json.loads(path.read_text())  # whole, full or not
    kept = len(load(path))
    if sys.argv[3]:  # there is room again before the session ends
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(json.dumps([kept, *file.close()]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_records_beyond_the_limit_go_to_the_temporary_directory(tmp_path: Path) -> None:
    # The limit holds for every file of the process: it has room for some records, and for the rest of them elsewhere.
    run = run_python(WRITE_UNTIL_FULL, tmp_path / "r.json", 150_000, "", TMPDIR=str(tmp_path))
    assert run.returncode == 0, run.stderr
    kept, message = json.loads(run.stdout)
    assert 0 < kept < 12
    assert f"{12 - kept} of 12 records are in " in message
    elsewhere = next(tmp_path.glob("kgate-records-*.json"))
    assert str(elsewhere) in message
    found = merge([load(tmp_path / "r.json"), load(elsewhere)])
    assert [record["call"] for record in found] == list(range(12))


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_records_are_written_late_when_there_is_room_again(tmp_path: Path) -> None:
    run = run_python(WRITE_UNTIL_FULL, tmp_path / "r.json", 150_000, "again", TMPDIR=str(tmp_path))
    assert run.returncode == 0, run.stderr
    kept, message = json.loads(run.stdout)
    assert 0 < kept < 12
    assert "could not be written for a while (File too large); all 12 records are in it now" in message
    assert len(load(tmp_path / "r.json")) == 12


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_records_that_fit_nowhere_are_said_to_be_lost(tmp_path: Path) -> None:
    run = run_python(WRITE_UNTIL_FULL, tmp_path / "r.json", 24_000, "", TMPDIR=str(tmp_path))
    assert run.returncode == 0, run.stderr
    kept, message = json.loads(run.stdout)
    assert f"{12 - kept} of 12 records are lost" in message
    assert len(load(tmp_path / "r.json")) == kept
    assert list(tmp_path.glob("kgate-records-*")) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(tmp_path)], capture_output=True)
    if mount.returncode:
        pytest.skip("may not mount a tmpfs")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@as_root
def test_full_disk_keeps_a_whole_file_and_the_rest_elsewhere(small_disk: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        run = run_python(WRITE_UNTIL_FULL, small_disk / "r.json", "", "", TMPDIR=temporary)
        assert run.returncode == 0, run.stderr
        kept, message = json.loads(run.stdout)
        assert 0 < kept < 12
        assert "No space left on device" in message
        elsewhere = next(Path(temporary).glob("kgate-records-*.json"))
        found = merge([load(small_disk / "r.json"), load(elsewhere)])
        assert [record["call"] for record in found] == list(range(12))


@as_root
def test_disk_that_is_full_from_the_start_is_refused_at_once(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"x" * 128 * 1024)
    with pytest.raises(UsageError, match="No space left on device"):
        RecordFile(small_disk / "r.json")
