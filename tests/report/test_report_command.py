"""The `kgate` command, run as users run it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sample_records import session
from sample_records import speed_record

from pytest_kgate import __version__
from pytest_kgate import cli
from pytest_kgate.report.record.document import SCHEMA
from pytest_kgate.report.record.document import document
from pytest_kgate.report.record.file import RecordFile
from pytest_kgate.report.record.record import Record


def kgate(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest_kgate.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "a.json", session())


def write(path: Path, content: Sequence[Record]) -> Path:
    path.write_text(json.dumps(document(content)))
    return path


def test_version() -> None:
    run = kgate("--version")
    assert (run.returncode, run.stdout) == (0, f"pytest-kgate {__version__}\n")


def test_report_of_two_sessions_tells_the_runs_of_a_test_apart(tmp_path: Path) -> None:
    first, second = speed_record("a.py::t"), speed_record("a.py::t") | {"started": "2026-01-02T03:04:05+00:00"}
    files = [write(tmp_path / "a.json", [first]), write(tmp_path / "b.json", [second, speed_record("a.py::other")])]
    rows = kgate("report", *files, "--width", 100).stdout.splitlines()
    assert [row.partition("  ")[0] for row in rows[1:4]] == ["t run 1", "t run 2", "other"]


def test_report_prints_the_table(file: Path) -> None:
    run = kgate("report", file, "--width", 100)
    assert run.returncode == 0, run.stderr
    assert "1.209 [1.198, 1.221]   0.95  " in run.stdout
    assert "4 PASS, 1 FAIL" in run.stdout


def test_report_merges_files(tmp_path: Path, file: Path) -> None:
    other = write(tmp_path / "b.json", [session()[0], speed_record("b.py::only_here")])
    run = kgate("report", file, other, "--format", "json")
    assert run.returncode == 0, run.stderr
    shown = json.loads(run.stdout)
    assert shown["schema"] == SCHEMA
    assert [record["test"] for record in shown["records"]] == [*(r["test"] for r in session()), "b.py::only_here"]


def test_report_updates_a_readme(tmp_path: Path, file: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_bytes(b"# A\r\n<!-- kgate:h200 -->\r\nold\r\n<!-- /kgate -->\r\nrest\r\n")
    for _ in range(2):
        run = kgate("report", file, "--into", readme, "--block", "h200")
        assert (run.returncode, run.stdout) == (0, ""), run.stderr
    content = readme.read_bytes()
    assert content.startswith(b"# A\r\n<!-- kgate:h200 -->\n| candidate |")
    assert content.endswith(b"\n<!-- /kgate -->\r\nrest\r\n")
    assert kgate("report", file, "--format", "markdown").stdout.strip().encode() in content


def test_show_prints_one_test_in_full(file: Path) -> None:
    run = kgate("show", file, "4096")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("FAIL: wmma against sdpa cudnn")
    assert "off by" in run.stdout


def test_impls_lists_kernels_with_their_knobs() -> None:
    run = kgate("impls")
    assert run.returncode == 0, run.stderr
    assert "wmma (cuda, ready): " in run.stdout
    assert "    BLOCK_M=64  " in run.stdout
    assert "    needs cuBLAS: pip install nvidia-cublas" in run.stdout
    assert "    features: GroupedHeads, KvSeqlen, Window, Softcap, Bias, Lse (sdpa.h)" in run.stdout
    assert "    features: SharedHeads (sdpa.h)" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "gone.json"], "There is no file gone.json."),
        (["report", "FILE", "--into", "x"], "--into and --block belong together."),
        (["report", "FILE", "--into", "gone.md", "--block", "a"], "gone.md can't be updated: No such file"),
        (["report", "FILE", "--into", "x", "--block", "a", "--format", "json"], "--into writes markdown, not json."),
        (["show", "FILE", "nothing"], "has no record of a test named like 'nothing'."),
    ],
)
def test_mistakes_get_two_lines_and_status_2(file: Path, arguments: list[str], message: str) -> None:
    run = kgate(*(file if argument == "FILE" else argument for argument in arguments))
    assert run.returncode == 2
    what, todo = run.stderr.splitlines()
    assert what.startswith("kgate: ")
    assert message in what
    assert todo


def test_file_of_a_killed_session_is_shown_as_far_as_it_goes_with_status_2(tmp_path: Path) -> None:
    path = tmp_path / "torn.json"
    journal = RecordFile(path)
    for number in range(3):
        journal.append(speed_record(f"a.py::t[{number}]"))
    path.write_text(path.read_text()[:-50])
    run = kgate("report", path)
    complaint = f"kgate: {path} ends in the middle of a record; 2 whole ones were read"
    assert run.returncode == 2
    assert "2 PASS" in run.stdout
    assert run.stderr == f"{complaint}\n"
    run = kgate("show", path, "t[1]")
    assert (run.returncode, run.stderr) == (2, f"{complaint}\n")
    assert "a.py::t[1]" in run.stdout
    run = kgate("show", path, "t[2]")  # the one that was cut off
    assert run.stderr.startswith(f"{complaint}; {path} has no record of a test named like")
    page = tmp_path / "page.md"
    page.write_text("<!-- kgate:a -->\nold\n<!-- /kgate -->\n")
    run = kgate("report", path, "--into", page, "--block", "a")
    assert run.returncode == 2
    assert run.stderr.startswith(f"{complaint}.\nThe page was left as it is")
    assert "old" in page.read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda record: record.pop("candidate"), "its candidate is missing"),
        (lambda record: record.update(test=3), "its test is no string"),
        (lambda record: record.update(verdict="SPLENDID"), "its verdict is none that is known"),
        (lambda record: record["timing"].pop("rounds"), "its timing.rounds is missing"),
        (lambda record: record["gates"][0].update(ratio="low"), "its gates[0].ratio is no object"),
    ],
)
def test_damaged_record_is_named_and_never_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, said: str
) -> None:
    records = [speed_record("a.py::whole"), speed_record("a.py::damaged")]
    change(records[1])
    path = write(tmp_path / "r.json", records)
    for arguments in (["report", str(path)], ["show", str(path), "damaged"]):
        assert cli.main(arguments) == 2
        assert capsys.readouterr().err.startswith(f"kgate: {path} is damaged in its record 2: {said}.\n")


def test_reader_that_stops_early_is_no_error(tmp_path: Path) -> None:
    path = write(tmp_path / "long.json", [speed_record(f"a.py::t[{number}]") for number in range(60)])
    command = [sys.executable, "-m", "pytest_kgate.cli", "report", str(path), "--format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize("rate", ["0", "1", "1.5"])
def test_false_discovery_rate_that_is_none_is_refused(file: Path, rate: str) -> None:
    run = kgate("report", file, f"--fdr={rate}")
    assert run.returncode == 2
    assert f"--fdr cannot be {rate}" in run.stderr
