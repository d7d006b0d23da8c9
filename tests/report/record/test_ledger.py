"""The file of records is compared with what was written to it."""

from __future__ import annotations

import json

import pytest

from pytest_kgate.report.record.file import RecordFile
from pytest_kgate.report.record.ledger import Ledger

HEAD, TAIL = b'{"records": [', b"\n]}\n"
LINES = (b'{"verdict":"WRONG"}', b'{"verdict":"PASS"}')


@pytest.fixture
def ledger():
    found = Ledger(HEAD, TAIL)
    for line in LINES:
        found.add(line)
    return found


def test_untouched_file_is_as_it_was_written(ledger):
    assert ledger.complaint(HEAD + b"\n" + LINES[0] + b",\n" + LINES[1] + TAIL) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace(b"WRONG", b"PASS"), "record 1 of 2 was changed"),
        (lambda text: text.replace(b",\n" + LINES[1], b""), "1 records instead of 2"),
        (lambda text: text.replace(TAIL, b",\n{}" + TAIL), "3 records instead of 2"),
        (lambda text: b" " + text, "first or last line"),
    ],
)
def test_change_is_named(ledger, change, said):
    assert said in ledger.complaint(change(ledger.document))


def test_record_file_is_written_again_as_it_was_judged(tmp_path):
    path = tmp_path / "records.json"
    file = RecordFile(path)
    file.append({"verdict": "WRONG"})
    path.write_text(path.read_text().replace("WRONG", "PASS"))
    (message,) = file.close()
    assert "was changed while the tests ran (record 1 of 1 was changed)" in message
    assert file.tampered
    assert [record["verdict"] for record in json.loads(path.read_text())["records"]] == ["WRONG"]
