"""Each verb that reads a file, given another of the package's files: it says what that is, and which verb shows it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from verb_files import write_files

from pytest_kgate import cli
from pytest_kgate.system.json_file import KINDS

READERS = {
    "records": ("report {}", "rank {}", "show {} test", "prompt {}", "verify {} --policy policy.toml"),
    "search": ("leaderboard {}",),
    "history": ("history {}", "report records.json --format html --history {}"),
    "calibration": ("calibrate --show --json {}",),
    "oracle": ("oracle --from {}",),
    "integrity": ("integrity --from {}",),
    "simulation": ("simulate --from {}",),
    "search-simulation": ("simulate-search --from {}",),
    "policy": ("verify records.json --policy {}",),
}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    return tmp_path


def beginning(schema: str) -> str:
    """Of a file that was cut off: the least by which it can be told."""
    first = '"event": "search", "time": "2026-11-29T00:00:00", ' if schema.endswith("/search") else ""
    return f'{{{first}"schema": "{schema}", "version": 1, "created": "2026-11-29T00'


@pytest.mark.parametrize("reader", [one for several in READERS.values() for one in several])
def test_file_of_another_verb_is_called_what_it_is(reader: str, capsys: pytest.CaptureFixture[str]) -> None:
    own = next(kind for kind, several in READERS.items() if reader in several)
    for schema, (holds, verb) in KINDS.items():
        if schema == f"pytest-kgate/{own}":
            continue
        Path("a file.json").write_text(beginning(schema))
        assert cli.main([part.format("a file.json") for part in reader.split()]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"kgate: a file.json holds {holds}, and no ")
        assert (f"`{verb} 'a file.json'` shows it." in said) == bool(verb)
        assert "take the line out" not in said
        assert "Mend that line" not in said


@pytest.mark.parametrize(
    ("asked", "file"),
    [("leaderboard", "records.json"), ("report", "search.jsonl"), ("rank", "history.jsonl")],
)
def test_advice_works_when_it_is_followed(asked: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([asked, file]) == 2
    advised = re.search(r"`kgate (.*?)` shows it", capsys.readouterr().err)
    assert advised is not None
    assert cli.main(shlex.split(advised[1])) < 2
    assert capsys.readouterr().out


@pytest.mark.parametrize("text", ["", '{"event": "sea', "<!DOCTYPE html>\n<p>\n", "import pytest\nimport torch\n"])
def test_leaderboard_of_what_is_no_journal_names_who_writes_one(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine").write_text(text)
    assert cli.main(["leaderboard", "mine"]) == 2
    said = capsys.readouterr().err
    assert "mine holds no search" in said
    assert "Name a file that `kgate search TEST` has written" in said
