"""Percentiles of both arms' latency, in every format: an interval, or a dash and how many more samples it takes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from sample_records import session
from sample_records import speed_record

from pytest_kgate import cli
from pytest_kgate.report import format as text
from pytest_kgate.report.ci import markdown
from pytest_kgate.report.ci.junit.write import junit
from pytest_kgate.report.record.document import document
from pytest_kgate.report.record.samples import arm_facts
from pytest_kgate.report.record.samples import decode_samples
from pytest_kgate.report.text.summary import summary_table

RACE = speed_record(rounds=96)
assert RACE["timing"] is not None
KNOWN = {one["quantile"]: one for one in RACE["timing"]["candidate"]["percentiles"]}


def shown(records: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    path = tmp_path / "records.json"
    path.write_text(json.dumps(document(records)))
    assert cli.main(["report", str(path), *options]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        ("--percentiles",),
        ("--percentiles", "--format", "markdown"),
        ("--format", "comment"),
        ("--format", "summary"),
        ("--format", "html"),
    ],
    ids=" ".join,
)
def test_reader_sees_an_interval_or_how_many_samples_are_missing(
    options: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = " ".join(shown([RACE], tmp_path, capsys, *options).split())
    assert KNOWN[0.5]["low_seconds"] is not None
    assert text.percentile(KNOWN[0.5]) in said
    assert KNOWN[0.99]["missing_samples"] > 0
    assert f"- ({KNOWN[0.99]['missing_samples']} more samples)" in said
    assert said.count("more samples)") >= 2  # of the reference, too


def test_programs_get_the_same_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = csv.DictReader(io.StringIO(shown([RACE], tmp_path, capsys, "--format", "csv")))
    (same,) = json.loads(shown([RACE], tmp_path, capsys, "--format", "rows"))
    suite = ElementTree.fromstring(junit([RACE]).encode())
    properties = {one.get("name", "").partition(" ")[0]: one.get("value") for one in suite.iter("property")}
    for name in ("seconds", "low", "high", "upper"):
        key = "estimate_seconds" if name == "seconds" else f"{name}_seconds"
        wanted = KNOWN[0.5][key]  # type: ignore[literal-required]
        assert same[f"candidate_p50_{name}"] == float(row[f"candidate_p50_{name}"]) == wanted
        assert float(str(properties[f"kgate.candidate_p50_{name}"])) == wanted
    assert same["candidate_p99_high"] is None
    assert row["candidate_p99_high"] == ""
    assert "kgate.candidate_p99_high" not in properties
    assert same["candidate_p99_more_samples"] == KNOWN[0.99]["missing_samples"]
    assert shown(session()[-3:-2], tmp_path, capsys, "--format", "csv").count("\n") == 2  # not raced


def test_records_of_older_versions_tell_them_by_their_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = json.loads(json.dumps(RACE))
    for arm in ("candidate", "reference"):
        del old["timing"][arm]["percentiles"]
    for options in (("--percentiles",), ("--format", "comment"), ("--format", "csv")):
        assert shown([old], tmp_path, capsys, *options) == shown([RACE], tmp_path, capsys, *options)


def test_percentile_that_a_race_went_on_for_stands_below_the_table() -> None:
    assert "percentiles of" not in summary_table([RACE])
    assert RACE["timing"] is not None
    samples = decode_samples(RACE["timing"]["candidate"]["samples"])
    timing: Any = {**RACE["timing"], "candidate": arm_facts(samples, 0.75)}
    asked: Any = {"command": [], "sources": {"percentile": "--kgate-percentile"}}
    for width in (60, 100):
        lines = summary_table([{**RACE, "timing": timing, "asked": asked}], width).splitlines()
        start = next(index for index, line in enumerate(lines) if line.startswith("percentiles of tests/"))
        assert lines[start + 1].startswith("    candidate p50 ")
        assert max(map(len, lines[start + 1 : -1])) <= width
        assert "; p75 " in " ".join(" ".join(lines[start + 1 : -1]).split())


def test_comment_leaves_out_whole_races_and_counts_them() -> None:
    records = [speed_record(f"test_a.py::test_b[{number:0150}]") for number in range(100)]
    folded = markdown.comment(records).partition("<summary>Percentiles")[2]
    rows = [line for line in folded.splitlines() if line.startswith("|")][2:]
    assert 0 < len(rows) < 200
    assert [row.startswith("|  |") for row in rows] == [False, True] * (len(rows) // 2)
    assert f"{100 - len(rows) // 2} more races left out here" in folded


def test_flag_is_for_formats_that_do_not_have_them_anyway(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "a.json", "--format", "csv", "--percentiles"]) == 2
    assert "--percentiles is for the formats table and markdown." in capsys.readouterr().err
