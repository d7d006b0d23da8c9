"""Names and messages that try to be markup, commands, formulas or files: shown everywhere, obeyed nowhere."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from sample_records import speed_record

from pytest_kgate.report.ci import markdown
from pytest_kgate.report.ci import rows
from pytest_kgate.report.ci import workflow_commands
from pytest_kgate.report.ci.junit.write import junit
from pytest_kgate.report.ci.untrusted import block
from pytest_kgate.report.ci.untrusted import code
from pytest_kgate.report.ci.untrusted import words
from pytest_kgate.report.record.record import Record

HOSTILE = [
    "<script>alert(1)</script>",
    "a | b | c",
    "two\nlines\r\n::error::mine",
    "::set-output name=x::1",
    "`code` ```fence```\n```\n# mine",
    "![x](http://x.invalid) [y](http://x.invalid) www.x.invalid",
    "@octocat, see **this**",
    "\N{FIRE} \N{HEBREW LETTER ALEF}\N{RIGHT-TO-LEFT OVERRIDE}txt.exe",
    "nul \x00 escape \x1b[31m bell \a",
    "half of a letter \ud800",
    "=HYPERLINK(1)",
    "]]> &amp; %0A %25",
    "</details><!-- pytest-kgate: comment -->",
    "back\\slash \\| pipe",
    "",
    "x" * 5000,
]


_FAILED = speed_record(ratio=1.2)


@pytest.fixture(params=HOSTILE, ids=range(len(HOSTILE)))
def record(request: pytest.FixtureRequest) -> Record:
    text = request.param
    found = copy.deepcopy(_FAILED)
    found["test"] = f"test_a.py::test_b[{text}]"
    for facts in (found["candidate"], found["problem"], found["reference"]):
        assert facts is not None
        facts["name"] = text
    found["reason"] = found["gates"][0]["reason"] = text
    return found


def test_table_keeps_its_form(record: Record) -> None:
    text = markdown.comment([record])
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 3 + 4  # of gates, and of percentiles
    assert [line.replace("\\|", "").count("|") for line in table] == [9] * 3 + [7] * 4
    marked_up = re.sub("`[^`]*`", "", "".join((table[2], *table[5:])))
    assert set(re.findall("<[^>]*>", marked_up)) <= {"<code>", "</code>", "<!-- -->"}
    assert not any(markup in marked_up for markup in ("](", "www.", "://", "@octocat"))
    text.encode()


def test_comment_is_folded_twice(record: Record) -> None:
    outside = _without_blocks(markdown.comment([record]))
    assert outside.count("<details>") == outside.count("</details>") == 2
    assert outside.count(markdown.MARKER) == 1


def _without_blocks(text: str) -> str:
    """What is no block of code: all between a fence and its like is shown as it is."""
    kept, fence = [], ""
    for line in text.splitlines():
        if fence:
            fence = "" if line == fence else fence
        elif line.startswith("```"):
            fence = line.removesuffix("text")
        else:
            kept.append(line)
    assert not fence
    return "\n".join(kept)


def test_annotation_is_one_command(record: Record) -> None:
    (line,) = workflow_commands.commands([record]).splitlines()
    head, _, message = line.removeprefix("::").partition("::")
    assert line.startswith("::error file=test_a.py,title=kgate FAIL%3A test_b[")
    assert head.count(",") == 1
    assert "\r" not in message


def test_rows_have_one_line_a_gate(record: Record) -> None:
    text = rows.as_csv([record])
    assert len(text.splitlines()) == 2
    (row,) = csv.DictReader(io.StringIO(text))
    assert float(row["ratio"]) > 1.1
    assert not any(value.startswith(("=", "@")) for value in row.values())
    (same,) = json.loads(rows.as_json([record]))
    assert list(same) == list(row)


def test_junit_is_well_formed(record: Record) -> None:
    suites = ElementTree.fromstring(junit([record]).encode())
    (failure,) = suites.iter("failure")
    assert failure.get("message", "").startswith("FAIL: ")


def test_plain_names_are_shown_as_they_are() -> None:
    assert code("tests/test_a.py::test_b[1x8x512x64]") == "`tests/test_a.py::test_b[1x8x512x64]`"
    assert words("registers 80 (+2), [60.9 %, 61.8 %]") == "registers 80 (+2), [60.9 %, 61.8 %]"


def test_what_cannot_be_seen_is_shown_by_its_number() -> None:
    assert code("a\u202eb") == "<code>a&#92;u202eb</code>"
    assert block("a\u2066\tb\n\x07") == "```text\na\\u2066\tb\n\\x07\n```\n"


def test_annotation_names_the_line_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kernels").mkdir()
    monkeypatch.chdir(tmp_path / "kernels")
    Path("test_a.py").write_text("import pytest\n\n\nclass TestB:\n    @pytest.mark.perf\n    def test_c(self): ...\n")
    record = speed_record("test_a.py::TestB::test_c[1]", ratio=1.2)
    text = workflow_commands.commands([record], {"GITHUB_WORKSPACE": str(tmp_path)})
    assert text.startswith("::error file=kernels/test_a.py,line=6,title=kgate FAIL%3A TestB%3A%3Atest_c[1]::wmma on ")
    assert "%0Aratio 1.2" in text
    Path("test_a.py").write_text("no python (")
    assert "line=" not in workflow_commands.commands([record])


def test_ten_annotations_and_the_last_counts_the_rest() -> None:
    records = [speed_record(f"test_a.py::test_b[{number}]", ratio=1.2) for number in range(15)]
    assert len(workflow_commands.commands(records[:10]).splitlines()) == 10
    lines = workflow_commands.commands(records).splitlines()
    assert len(lines) == 10
    assert lines[-1] == "::error title=kgate::6 more tests that do not pass; the step's summary has all"
