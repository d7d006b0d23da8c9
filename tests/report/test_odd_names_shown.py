"""Names that no table was made for: line ends, marks that turn text around, halves of letters. No report ends there."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from sample_records import session
from sample_records import speed_record

from pytest_kgate import cli
from pytest_kgate.report.record.document import document
from pytest_kgate.report.text.summary import summary_table

ODD = [
    "two\nlines",
    "\N{HEBREW LETTER ALEF} \N{RIGHT-TO-LEFT OVERRIDE}exe.txt",
    "half \ud83d",
    "",
    "[red]bold[/red]",
    "\x1b[31mred",
    "x" * 3000,
    "a|b`c`",
    "\N{FIRE} fire",
    "<b>bold</b>",
]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize(
    "options", [("report", "--percentiles"), ("report", "--format", "markdown"), ("show",), ("rank",)], ids=" ".join
)
def test_every_table_has_a_line_for_each(
    encoding: str, options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = session()
    for record, name in zip(records, ODD, strict=True):
        record["test"] = f"tests/test_a.py::test_b[{name}]"
        record["candidate"]["name"] = record["problem"]["name"] = record["reason"] = name
        record["warnings"] = [name]
    (tmp_path / "records.json").write_text(json.dumps(document(records)))
    monkeypatch.chdir(tmp_path)
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding=encoding))
    verb, *rest = options
    assert cli.main([verb, "records.json", *(["test_b"] if verb == "show" else []), *rest]) == 0
    text = written.getvalue().decode(encoding)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "ud83d" in text
    if verb == "report":
        assert "two lines" in text


@pytest.mark.parametrize("verb", [("report",), ("show", "wmma"), ("rank",)], ids=lambda verb: verb[0])
def test_width_that_is_none_is_refused(
    verb: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "records.json"
    path.write_text(json.dumps(document(session()[:1])))
    name, *test = verb
    assert cli.main([name, str(path), *test, "--width", "0"]) == 2
    assert "--width cannot be 0." in capsys.readouterr().err


def test_name_of_one_reference_heads_no_column_that_holds_times_of_another() -> None:
    records = [speed_record(f"test_of_a_long_name_{number}") for number in range(2)]
    for record, name in zip(records, ("matmul", "<lambda>"), strict=True):
        assert record["reference"] is not None
        record["reference"]["name"] = name
    assert "matmul" not in summary_table(records, 80).splitlines()[0]
    records[1]["reference"] = records[0]["reference"]
    assert "matmul" in summary_table(records, 80).splitlines()[0]
