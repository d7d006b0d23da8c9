"""The file of records survives what ends a session early: kills, full disks, other programs."""

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
from typing import Any

import pytest
import sample_records
from record_schema import demand_valid
from sample_records import session
from sample_records import speed_record
from sample_records import wrong_record

from pytest_kgate.errors import UsageError
from pytest_kgate.report.record.document import load
from pytest_kgate.report.record.document import merge
from pytest_kgate.report.record.file import RecordFile

TAIL = b"\n]}\n"

pytest.importorskip("jsonschema", reason="needs jsonschema, of the extra `test`")

as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="mounts a tmpfs"
)
not_as_root = pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")


def run_python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environment,
        cwd=Path(sample_records.__file__).parent,
    )


def test_file_is_whole_after_every_record(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "r.json"
    file = RecordFile(path)
    demand_valid(json.loads(path.read_text()))
    for number, record in enumerate(session(), start=1):
        file.append(record)
        document = json.loads(path.read_text())
        demand_valid(document)
        assert len(document["records"]) == number
    assert file.close() == []
    assert load(path) == session()
    assert file.close() == []


def test_each_record_has_a_line_of_its_own(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "r.json")
    for record in session():
        file.append(record)
    lines = (tmp_path / "r.json").read_text().splitlines()
    assert [json.loads(line.rstrip(","))["test"] for line in lines[1:-1]] == [record["test"] for record in session()]


def test_new_session_replaces_the_records_of_the_last(tmp_path: Path) -> None:
    for test in ("a.py::one", "a.py::two"):
        file = RecordFile(tmp_path / "r.json")
        file.append(speed_record(test))
        file.close()
    assert [record["test"] for record in load(tmp_path / "r.json")] == ["a.py::two"]


def test_other_files_are_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "test_precious.py"
    path.write_text("def test(): pass\n")
    with pytest.raises(UsageError, match="something else than records"):
        RecordFile(path)
    assert path.read_text() == "def test(): pass\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX file locks")
def test_file_that_another_session_writes_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    first = RecordFile(path)
    first.append(speed_record("a.py::one"))
    with pytest.raises(UsageError, match="Another session is writing its records to") as error:
        RecordFile(path)
    assert "another path" in error.value.todo
    child = os.fork()
    if child == 0:  # holds the file open beyond the session's end, as a test's own process may
        os.read(os.pipe()[0], 1)
    try:
        first.append(speed_record("a.py::two"))
        assert first.close() == []
        assert len(load(path)) == 2
        RecordFile(path).close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert load(path) == []


def test_directory_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory"):
        RecordFile(tmp_path)


def test_file_as_parent_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="can't be written"):
        RecordFile(tmp_path / "file" / "r.json")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_device_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="not a regular file"):
        RecordFile("/dev/full")


@not_as_root
def test_file_without_write_permission_is_refused_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="Permission denied"):
        RecordFile(tmp_path / "r.json")


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


@pytest.mark.skipif(sys.platform == "win32", reason="an open file can't be removed there")
def test_file_removed_during_the_session_is_written_again(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "sub" / "r.json")
    file.append(speed_record("a.py::one"))
    (tmp_path / "sub" / "r.json").unlink()
    (tmp_path / "sub").rmdir()
    file.append(speed_record("a.py::two"))
    (message,) = file.close()
    assert "was removed or replaced" in message
    assert len(load(tmp_path / "sub" / "r.json")) == 2


def test_file_changed_by_another_program_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = tmp_path / "r.json"
    file = RecordFile(path)
    file.append(speed_record("a.py::one"))
    path.write_text("mine now")
    file.append(speed_record("a.py::two"))
    (message,) = file.close()
    assert "another program changed the file" in message
    assert path.read_text() == "mine now"
    assert "a.py::two" in [record["test"] for record in load(next(tmp_path.glob("kgate-records-*.json")))]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace(b"WRONG", b"PASS"), "record 1 of 2 was changed"),
        (lambda text: text[: text.index(b",\n")] + TAIL, "1 record instead of 2"),
        (lambda text: text.replace(TAIL, b",\n{}" + TAIL), "3 records instead of 2"),
        (lambda text: b" " + text, "first or last line"),
    ],
)
def test_file_that_was_changed_is_written_again_as_it_was_judged(tmp_path: Path, change: Any, said: str) -> None:
    path = tmp_path / "records.json"
    file = RecordFile(path)
    file.append(wrong_record())
    file.append(speed_record())
    written = path.read_bytes()
    path.write_bytes(change(written))
    (message,) = file.close()
    assert said in message
    assert file.tampered
    assert path.read_bytes() == written
