"""The file of records is whole at all times, and survives other programs."""

from __future__ import annotations

import codecs
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from record_schema import demand_valid
from sample_records import session
from sample_records import speed_record
from sample_records import wrong_record

from pytest_kgate.errors import UsageError
from pytest_kgate.report.record.document import load
from pytest_kgate.report.record.file import RecordFile

TAIL = b"\n]}\n"

pytest.importorskip("jsonschema", reason="needs jsonschema, of the extra `test`")

not_as_root = pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")


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


def test_byte_order_mark_of_an_editor_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    file = RecordFile(path)
    file.append(speed_record())
    file.close()
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert load(path) == [speed_record()]


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
