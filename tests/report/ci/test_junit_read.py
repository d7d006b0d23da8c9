"""What `pytest --junitxml` knows of a session, and no record does, in a pull request's comment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sample_records import speed_record

from pytest_kgate import cli
from pytest_kgate.report.record.document import document

REPORT = """<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest">
<testcase classname="" name="tests.test_a"><error message="collection failure">tests/test_a.py:1: in &lt;module&gt;
E     File "/home/runner/kernels.py", line 3
E       def mine(x:
E               ^
E   SyntaxError: '(' was never closed</error></testcase>
<testcase classname="" name="tests.test_b"><error message="collection failure">no exception</error></testcase>
<testcase classname="tests.test_c.TestIt" name="test_d[x]"><failure message="ValueError: no | @me&#10;more">x</failure>
</testcase>
<testcase classname="tests.test_c" name="test_e"><error message="failed on setup">x</error></testcase>
<testcase classname="tests.test_c" name="test_passes"/>
<testcase classname="tests.test_c" name="test_skipped"><skipped message="no GPU"/></testcase>
<testcase classname="tests.test_c" name="test_gate[1]"><failure message="FAIL">x</failure></testcase>
</testsuite></testsuites>
"""


@pytest.fixture
def records(tmp_path: Path) -> Path:
    path = tmp_path / "records.json"
    path.write_text(json.dumps(document([speed_record("tests/test_c.py::test_gate[1]", ratio=1.2)])))
    return path


def test_comment_names_what_failed_and_has_no_record(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "junit.xml"
    report.write_text(REPORT)
    asked = ["report", str(records), "--format", "comment", "--session-status", "2"]
    assert cli.main([*asked, "--junit", str(report), "--junit", str(tmp_path / "none.xml")]) == 0
    told = capsys.readouterr().out
    assert (
        "\n\n- `tests/test_a.py` could not be collected: SyntaxError: '(' was never closed (kernels.py, line 3)\n"
        in told
    )
    assert "- `tests/test_b.py` could not be collected: the log says why\n" in told
    assert "- `tests.test_c.TestIt.test_d[x]` failed: ValueError: no &#124; &#64;<!-- -->me\n" in told
    assert "- `tests.test_c.test_e` failed: failed on setup\n" in told
    assert told.count("` failed: ") == 2
    assert cli.main([*asked[:3], "annotations", *asked[4:], "--junit", str(report)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("::error title=kgate%3A tests/test_a.py::could not be collected: SyntaxError: '(' was")
    assert lines[3] == "::error title=kgate%3A tests.test_c.test_e::failed: failed on setup"
    assert "title=kgate FAIL%3A test_gate[1]::" in lines[4]
    assert len(lines) == 5


@pytest.mark.parametrize("content", ["<testsuites>", '<!DOCTYPE a [<!ENTITY b "c">]><testsuites>&b;</testsuites>'])
def test_what_is_no_report_of_pytest_is_told_below_the_comment(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    report = tmp_path / "junit.xml"
    report.write_text(content)
    assert cli.main(["report", str(records), "--format", "comment", "--junit", str(report)]) == 2
    told = capsys.readouterr()
    assert "1 of 1 gate does not pass" in told.out
    assert "junit.xml is no JUnit report" in told.err


def test_records_that_cannot_be_read_are_told_where_a_session_has_ended(
    records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = records.read_text()
    records.write_text("{")
    asked = ["report", str(records), "--format", "comment"]
    assert cli.main([*asked, "--session-status", "1"]) == 2
    told = capsys.readouterr()
    assert "but pytest failed: tests without a gate have failed, and records could not be read\n\n- " in told.out
    assert "records.json is not JSON" in told.out
    assert cli.main(asked) == 2
    assert capsys.readouterr().out == ""
    records.write_text(whole[:-4])
    assert cli.main([*asked, "--session-status", "0"]) == 2
    assert "❌" in capsys.readouterr().out.splitlines()[1]
