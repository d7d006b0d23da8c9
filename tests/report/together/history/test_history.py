"""A history: what is appended is read again whatever became of a writer, and is drawn as what it is."""

from __future__ import annotations

import codecs
import dataclasses
import datetime
import json
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from histories import point
from sample_records import error_record
from sample_records import measured_record
from sample_records import speed_record

import pytest_kgate
from pytest_kgate import cli
from pytest_kgate.errors import UsageError
from pytest_kgate.report.record.file import RecordFile
from pytest_kgate.report.together.history import changes
from pytest_kgate.report.together.history.compare import comparison
from pytest_kgate.report.together.history.compare import earlier
from pytest_kgate.report.together.history.draw import chart
from pytest_kgate.report.together.history.draw import overview
from pytest_kgate.report.together.history.point import point_of
from pytest_kgate.report.together.history.point import points_of
from pytest_kgate.report.together.history.series import series_of
from pytest_kgate.report.together.history.store import Writer
from pytest_kgate.report.together.history.store import append
from pytest_kgate.report.together.history.store import read
from pytest_kgate.statistics.gates import SpeedGate

LINES = 150
"""Of each of the two writers."""

WRITER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from histories import point
from pytest_kgate.report.together.history.store import append
sys.stdin.readline()  # both begin together
for number in range(int(sys.argv[5])):
    append(Path(sys.argv[3]), point(number, test=sys.argv[4]).line().encode())
"""


def written(path: Path, *points: object) -> Path:
    append(path, "".join(one.line() for one in points).encode())  # type: ignore[attr-defined]
    return path


def test_each_gate_of_a_record_is_a_line_that_reads_back() -> None:
    record = speed_record(bounds=(SpeedGate(0.95), SpeedGate(1.0, quantile=0.9)))
    both = list(points_of(record))
    assert [(one.gate, one.quantile, one.bound) for one in both] == [(0, 0.5, 0.95), (1, 0.9, 1.0)]
    assert [point_of(one.line()) for one in both] == both
    assert both[0].ratio == record["gates"][0]["ratio"]["estimate"]
    assert len(both[0].log_ratios) == 24
    assert (both[0].commit, both[0].uuid, both[0].reference) == ("59f8542c0ffee", "GPU-1234", "sdpa cudnn")
    (measured,) = points_of(measured_record())
    assert (measured.gate, measured.verdict) == (None, "MEASURED")
    assert list(points_of(error_record())) == []


def test_two_processes_that_append_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    folders = [str(Path(pytest_kgate.__file__).parents[1]), str(Path(__file__).parents[3] / "support")]
    command = [sys.executable, "-c", WRITER, *folders, str(path)]
    names = ("one", "two")
    writers = [subprocess.Popen([*command, name, str(LINES)], stdin=subprocess.PIPE, text=True) for name in names]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    for writer in writers:
        writer.communicate()
    history = read(path)
    assert [len(one.points) for one in series_of(history.points)] == [LINES, LINES]
    assert history.said == []


def test_line_that_a_killed_writer_left_is_the_only_one_lost_and_is_told_of(tmp_path: Path) -> None:
    path = written(tmp_path / "history.jsonl", point(0), point(1))
    path.write_bytes(path.read_bytes()[:-40])
    history = read(path)
    assert len(history.points) == 1
    assert history.said == [f"{path} ends in the middle of a line: the gate that was being written is lost."]
    writer = Writer(path)
    writer.add([point(2)])
    assert writer.close() is None
    history = read(path)
    assert [one.started for one in history.points] == [point(0).started, point(2).started]
    assert history.said == [f"Line 2 of {path} is damaged, and was left out."]


def test_byte_order_mark_of_an_editor_is_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path / "history.jsonl", point(0), point(1))
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    history = read(path)
    assert (len(history.points), list(history.said)) == (2, [])


def test_lines_of_newer_versions_and_of_clocks_ahead_are_told_of(tmp_path: Path) -> None:
    ahead = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=2)
    newer = point(1).line().replace('"version":1', '"version":2')
    path = written(tmp_path / "history.jsonl", point(2, started=ahead.isoformat()), point(0), point(0))
    append(path, newer.encode())
    history = read(path)
    assert [one.started for one in history.points] == [point(0).started, ahead.isoformat()]
    assert history.said == [
        "1 line of a newer version of pytest-kgate was left out: upgrade.",
        "1 gate by a clock that is ahead of this one: their order may be wrong.",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"ratio": 0.0},
        {"ratio": -1.0},
        {"candidate_seconds": 0.0},
        {"quantile": 2.0},
        {"call": "first"},
        {"commit": 7},
        {"uuid": ["GPU-1"]},
        {"log_ratios": ["a"]},
        {"gate": 10**400},
    ],
    ids=str,
)
def test_line_that_could_not_be_drawn_is_left_out_whoever_pushed_it(tmp_path: Path, changes: dict[str, Any]) -> None:
    odd = json.dumps({**json.loads(point(1).line()), **changes}) + "\n"
    nan = point(2).line().replace('"bound":0.95', '"bound":NaN')
    path = tmp_path / "history.jsonl"
    path.write_text(point(3).line() + odd + nan)
    history = read(path)
    assert [one.started for one in history.points] == [point(3).started]
    assert history.said == [f"Line 2 and 1 line behind it of {path} are damaged, and were left out."]


def test_times_at_the_ends_of_the_calendar_are_drawn() -> None:
    for started in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):
        (series,) = series_of([dataclasses.replace(point(1), started=started)])
        assert any("1 gate, " in line for line in chart(series, 80))


def test_file_that_holds_something_else_is_neither_appended_to_nor_read(tmp_path: Path) -> None:
    path = tmp_path / "test_mine.py"
    path.write_text("def test_it(): ...\n")
    for use in (Writer, read):
        with pytest.raises(UsageError, match="something else than a history"):
            use(path)
    assert path.read_text() == "def test_it(): ...\n"
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(point(1).line().encode()[:20])
    Writer(torn).add([point(2)])
    (tmp_path / "other.jsonl").write_text("{}\n")
    history = read(tmp_path)
    assert len(history.points) == 1
    assert "other.jsonl holds something else than a history, and was left out." in history.said[0]


def test_each_session_has_a_file_of_its_own_in_a_directory(tmp_path: Path) -> None:
    for number in range(2):
        writer = Writer(tmp_path / "kept")
        writer.add([point(number)])
        assert writer.close() is None
    assert len(list((tmp_path / "kept").glob("*.jsonl"))) == 2
    assert len(read(tmp_path / "kept").points) == 2
    with pytest.raises(UsageError, match="can't be written"):
        Writer(tmp_path / "kept" / next((tmp_path / "kept").glob("*")).name / "inside.jsonl")


@pytest.mark.parametrize("width", [80, 120])
def test_drawing_shows_the_step_its_dates_and_latencies_of_each_card_apart(width: int) -> None:
    points = [point(number, 0.655 if number < 30 else 0.612) for number in range(50)]
    points[10] = dataclasses.replace(points[10], uuid="GPU-other", candidate_seconds=9e-6)
    (one,) = series_of(points)
    lines = chart(one, width)
    assert max(map(len, lines)) <= width
    rows = [line[9:] for line in lines[2:13]]
    heights = [next(at for at, row in enumerate(rows) if row[column : column + 1] == "o") for column in (0, 49)]
    assert heights[1] - heights[0] > 4  # lower is faster
    assert "50 gates, 2 Jan 2026 to 20 Jan 2026" in lines[13]
    told = " ".join(" ".join(lines).split())
    assert "9.00 us (1 gate)" in told
    assert "(49 gates) NVIDIA H200 (GPU-1234abcd), driver 570.1" in told
    head, line = overview([one], width)
    assert max(len(head), len(line)) <= width
    assert " 50 " in line
    assert any(word.startswith("^^") and word.endswith("__") for word in line.split())  # it was slower at first


def test_single_gates_are_drawn_with_and_without_an_interval() -> None:
    wide = dataclasses.replace(point(0, 0.671, noise=0.0), low=0.3, high=1.4)
    (one,) = series_of([wide])
    assert sum("|" in line[9:] for line in chart(one, 80)[2:13]) > 8
    (bare,) = series_of([dataclasses.replace(wide, low=None, high=None, bound=None, commit=None)])
    assert "  latest  0.671 on 2 Jan 2026, PASS" in chart(bare, 80)
    assert overview([bare], 80)[1].split()[-3:] == ["-", "0.671", "PASS"]


@pytest.mark.parametrize(
    ("number", "days", "since"), [(1, "2 Jan 2026", "the first gate"), (9, "2 Jan 2026 to 5 Jan 2026", "2 Jan 2026")]
)
def test_gates_without_a_commit_go_by_their_days(number: int, days: str, since: str) -> None:
    (one,) = series_of([dataclasses.replace(point(at), commit=None) for at in (0, number)])
    lines = chart(one, 120)
    assert f"{'':>9}2 gates, {days}" in lines
    told = "\n".join(lines)
    assert re.search(f"PASS; [-+].* % since {since}\n", told)
    assert re.search(f" us, [-+].* % since {since} \\(2 gates\\)", told)


@pytest.mark.parametrize(
    ("step", "said"), [(29, " until 12 Jan 2026, 0.61* from 13 Jan 2026 on "), (30, ", then 0.61* within 13 Jan 2026 ")]
)
def test_a_new_level_without_a_commit_goes_by_its_day(step: int, said: str) -> None:
    pytest.importorskip("ruptures", reason="the extra `history` is not installed")
    points = [dataclasses.replace(point(at, 0.655 if at < step else 0.612), commit=None) for at in range(50)]
    (found,) = changes.changes_of(points)
    assert fnmatch(found.line, f"level 0.65*{said}*")


def test_levels_are_advice_where_there_is_a_step_and_none_where_there_is_noise() -> None:
    pytest.importorskip("ruptures", reason="the extra `history` is not installed")
    step = [point(number, 0.655 if number < 30 else 0.612) for number in range(50)]
    (found,) = changes.changes_of(step)
    assert found.index == 30
    assert found.line.startswith("level 0.65")
    for seed in range(8):
        assert changes.changes_of([point(100 * seed + number) for number in range(60)]) == []


def test_comparison_says_that_sessions_were_apart_and_compares_latencies_under_equal_conditions_only() -> None:
    then = [point(0, 0.655, noise=0.0), point(0, test="gone")]
    now = [point(9, 0.612, noise=0.0), point(9, test="new")]
    lines = comparison(now, then, "last")
    assert lines[0] == "Compared with last. The sessions were measured apart: no verdict follows."
    assert f"measured before on 2 Jan 2026 at {then[0].commit[:10]}" in lines[1]  # type: ignore[index]
    assert lines[2] == "    ratio    0.612, was 0.655 (-6.6 %)"
    assert lines[3] == "    latency  7.59 us, was 8.12 us (-6.6 %; the reference +0.0 %)"
    assert lines[4] == "  1 gate not measured then"
    other = [dataclasses.replace(then[0], uuid="GPU-other", torch="2.8.0")]
    assert comparison(now, other, "last")[3] == "    latency  not compared: another card, PyTorch"
    assert comparison(now, now, "last") == ["Compared with last: none of these gates was measured then."]


def test_what_to_compare_with_is_a_file_or_the_history(tmp_path: Path) -> None:
    history = written(tmp_path / "history.jsonl", point(0))
    assert len(earlier("last", history, tmp_path)) == 1
    assert earlier("last", tmp_path / "none yet.jsonl", tmp_path) == []
    assert len(earlier("history.jsonl", None, tmp_path)) == 1
    file = RecordFile(tmp_path / "records.json")
    file.append(speed_record())
    file.close()
    assert [one.test for one in earlier("records.json", None, tmp_path)] == [speed_record()["test"]]
    for history_path in (None, history):
        with pytest.raises(UsageError):
            earlier("no-such-thing", history_path, tmp_path)


def test_verb_lists_draws_and_says_what_was_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "history.jsonl", *(point(number) for number in range(5)))
    append(path, b"{")
    assert cli.main(["history", str(path), "--width", "80"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0].split() == ["test", "gates", "trend", "latest", "change", "verdict"]
    assert "ends in the middle of a line: the gate that was being written is lost" in said.err
    assert cli.main(["history", str(path), "latency", "--width", "80"]) == 0
    assert "  ratio to sdpa cudnn, lower is faster" in capsys.readouterr().out
    assert cli.main(["history", str(path), "nothing"]) == 2
    assert cli.main(["history", str(tmp_path / "missing.jsonl")]) == 2
    assert "can't be read" in capsys.readouterr().err
