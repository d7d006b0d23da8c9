"""What a reviewer reads under a pull request, and in the summary of a step."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from sample_records import limit
from sample_records import session
from sample_records import speed_record

from pytest_kgate import cli
from pytest_kgate.report.ci import markdown
from pytest_kgate.report.record.document import document
from pytest_kgate.report.record.verdicts import with_limits
from pytest_kgate.report.together.policy.findings import Finding
from pytest_kgate.report.together.policy.findings import Reading

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """That this suite may be part of."""
    monkeypatch.delenv("GITHUB_RUN_ID", raising=False)


def cells(text: str) -> list[list[str]]:
    """Of the gates' table."""
    text = text.partition("<details>")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_the_worst_stands_first() -> None:
    _, _, *rows = cells(markdown.comment(session()))
    verdicts = [row[0].strip("*") for row in rows]
    assert verdicts == ["ERROR", "WRONG", "INVALID", "FAIL", *["INCONCLUSIVE"] * 2, *["PASS"] * 4, "MEASURED"]


def test_of_two_that_fail_the_one_further_off_stands_first() -> None:
    records = [speed_record(f"test_a.py::test_{ratio}", ratio=ratio) for ratio in (1.1, 1.5, 1.3)]
    _, _, *rows = cells(markdown.comment(records))
    assert [row[1] for row in rows] == [f"`test_a.py::test_{ratio}`" for ratio in (1.5, 1.3, 1.1)]


def test_row_has_latencies_speedup_ratio_and_target() -> None:
    head, _, row = cells(markdown.comment([speed_record("test_a.py::test_b", ratio=0.5)]))
    shown = dict(zip(head, row, strict=True))
    assert shown["candidate"] == "`wmma` on `sdpa 1x8x512x64 float16`"
    assert shown["median"].endswith(" us")
    assert shown["reference"].endswith(" us `sdpa cudnn`")
    assert shown["speedup"] in ("1.99x", "2.00x", "2.01x")
    assert shown["ratio"].startswith("0.")
    assert shown["target"] == "&lt; 0.95"


def test_limits_have_rows_of_their_own() -> None:
    record = with_limits(speed_record(), [limit(value=80)])
    _, _, first, _ = cells(markdown.comment([record]))
    assert first[0] == "**FAIL**"
    assert first[-2:] == ["registers 80", "&lt;= 72"]


def test_counters_have_a_column_where_some_were_read() -> None:
    path = next(path for path in sorted((ROOT / "benchmarks" / "h100").glob("profile-*.json")))
    records: list[Any] = json.loads(path.read_text())["records"]
    head, _, *rows = cells(markdown.comment(records))
    assert head[-1] == "counters"
    assert any("tensor " in row[-1] and "DRAM " in row[-1] for row in rows)
    assert cells(markdown.comment(session()))[0][-1] == "target"


def test_what_does_not_fit_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown, "failure_text", lambda record, width: "details \N{FIRE}\n" * 100)
    few = markdown.comment(FAILS * 70)
    assert "more tests left out here" in few
    assert "more rows" not in few
    many = markdown.comment([FAILS[0] | {"test": f"test_a.py::test_b[{number:0200}]"} for number in range(400)])
    assert "400 more tests left out here" in many
    assert f"{400 + 2 - len(cells(many))} more rows left out here" in many
    for text in (few, many):
        assert 63_000 < len(text.encode("utf-16-le")) / 2 <= 65_536
        assert text.endswith("2026-01-02\n")


def test_step_summary_keeps_to_its_room_in_bytes() -> None:
    text = markdown.step_summary([PASSES[0] | {"test": "test_a.py::test_\N{FIRE}"}] * 200, room=9_000)
    assert 8_000 < len(text.encode()) <= 9_000


def test_run_that_keeps_the_files_is_linked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SERVER_URL", "https://a.example"), ("REPOSITORY", "a/b"), ("RUN_ID", "7")):
        assert "The run" not in markdown.comment(PASSES)
        monkeypatch.setenv(f"GITHUB_{name}", value)
    assert markdown.comment(PASSES).endswith("[The run](https://a.example/a/b/actions/runs/7) keeps the records.\n")


PASSES = [speed_record()]
FAILS = [speed_record(ratio=1.2)]


@pytest.mark.parametrize(
    ("records", "status", "said"),
    [
        (PASSES, 0, "\N{WHITE HEAVY CHECK MARK} kgate: the gate passes"),
        (PASSES * 2, None, "\N{WHITE HEAVY CHECK MARK} kgate: all 2 gates pass"),
        (PASSES, 1, "\N{CROSS MARK} kgate: the gate passes, but pytest failed: tests without a gate have failed"),
        (FAILS, 1, "\N{CROSS MARK} kgate: 1 of 1 gate does not pass"),
        (FAILS, 2, "\N{CROSS MARK} kgate: 1 of 1 gate does not pass, but pytest failed: it was interrupted"),
        (FAILS, 0, "kgate: 1 of 1 gate does not pass, and the session accepts that"),
        ([], 4, "\N{CROSS MARK} kgate: nothing was judged, but pytest failed: its command line"),
        ([], 0, "kgate: nothing was judged"),
    ],
)
def test_headline_says_how_the_session_ended(records: Any, status: int | None, said: str) -> None:
    assert said in markdown.comment(records, status).splitlines()[1]


def test_comment_of_a_session_that_could_not_begin_is_no_old_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = str(tmp_path / "gone.json")
    assert cli.main(["report", gone, "--format", "comment", "--session-status", "4"]) == 0
    assert capsys.readouterr().out.startswith(f"{markdown.MARKER}\n### \N{CROSS MARK} kgate: nothing was judged")
    assert cli.main(["report", gone, "--format", "comment", "--session-status", "0"]) == 2
    assert cli.main(["report", gone, "--format", "comment"]) == 2
    assert "There is no file" in capsys.readouterr().err


@pytest.mark.parametrize("format", ["comment", "summary", "annotations", "csv", "rows", "junit"])
def test_formats_say_so_where_a_file_is_cut_off_or_empty(
    format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "records.json"
    path.write_text(json.dumps(document([])))
    assert cli.main(["report", str(path), "--format", format]) == 0
    capsys.readouterr()
    torn = document(FAILS)
    head = json.dumps({**torn, "records": []}).removesuffix("]}")
    path.write_text(f'{head}\n{json.dumps(torn["records"][0])},\n{{"test": ')
    assert cli.main(["report", str(path), "--format", format]) == 2
    said = capsys.readouterr()
    assert "test_wmma" in said.out
    assert "ends in the middle of a record" in said.err
    path.write_text("")
    assert cli.main(["report", str(path), "--format", format]) == 2
    assert "records.json is empty." in capsys.readouterr().err


def test_comment_is_utf8_whatever_the_terminal_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "records.json"
    path.write_text(json.dumps(document([PASSES[0] | {"environment": {"gpu": {"name": "half a letter \ud800"}}}])))
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert cli.main(["report", str(path), "--format", "comment"]) == 0
    text = written.getvalue().decode("utf-8")
    assert "\N{WHITE HEAVY CHECK MARK} kgate: the gate passes" in text
    assert "half a letter \\\\ud800" in text


def test_policy_is_told_above_the_table_and_its_words_are_no_markup() -> None:
    missed = [Reading("p", "`mine` @me <b>", False, f"{number}") for number in range(5)]
    broken = Finding("speedup", 3, "the ratio below 0.9 on all", False, missed)
    text = markdown.comment(PASSES, 0, [Finding("gates", 1, "at least 1 gate", True, []), broken])
    policy = text.partition("policy:")[2].partition("1 PASS")[0]
    assert policy.splitlines()[0] == " 1 of 2 rules broken"
    assert policy.index("**broken**: line 3, speedup") < policy.index("holds: line 1, gates")
    assert policy.count("&#96;mine&#96; &#64;<!-- -->me &lt;b&gt;") == 3
    assert "and 2 more readings" in policy
    assert "\N{CROSS MARK} kgate: the gate passes, but the policy is broken" in text
    assert "policy: 1 rule, all hold" in markdown.step_summary(PASSES, 0, [Finding("gates", 1, "x", True, [])])


def test_session_status_belongs_to_comment_and_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "a.json", "--format", "csv", "--session-status", "0"]) == 2
    assert "--session-status is for --format comment, summary and annotations." in capsys.readouterr().err
