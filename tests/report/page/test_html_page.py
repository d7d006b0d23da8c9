"""The HTML page as text: what is on it, what is escaped, and what it does with many records and with odd ones."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from histories import point
from page_benchmark import repeated
from sample_records import allclose_record
from sample_records import error_record
from sample_records import limit
from sample_records import measured_record
from sample_records import session
from sample_records import speed_record
from sample_records import wrong_record

from pytest_kgate import cli
from pytest_kgate.report.page.html import page as page_module
from pytest_kgate.report.page.html.figures import markup
from pytest_kgate.report.page.html.figures.figure import Drawing
from pytest_kgate.report.page.html.figures.figure import Figure
from pytest_kgate.report.page.html.figures.figure import Table
from pytest_kgate.report.page.html.figures.medians import median
from pytest_kgate.report.page.html.figures.medians import row_medians
from pytest_kgate.report.page.html.forest import forest
from pytest_kgate.report.page.html.page import page
from pytest_kgate.report.record.document import load
from pytest_kgate.report.record.record import Record
from pytest_kgate.report.record.verdicts import with_limits
from pytest_kgate.report.rows import rows_of
from pytest_kgate.report.together.history.point import points_of
from pytest_kgate.statistics.gates import SpeedGate

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
PERF = BENCHMARKS / "h100" / "perf-evening-2026-11-27.json"
PROFILED = BENCHMARKS / "h100" / "profile-2026-11-27.json"

HOSTILE = (
    '<script>alert("1")</script>',
    "</script><img src=x onerror=alert(1)>",
    "a|b`c`*d*",
    "two\nlines\tand \x00\x1b[31m",
    "\U0001f680 schnell",
    "\u05e9\u05dc\u05d5\u05dd \u202egnp.exe",
    '"><details open ontoggle=alert(1)>',
    "half \ud83d of a pair",
)


class _Outline(HTMLParser):
    """Elements and their attributes, text by element, and whether elements are closed in order."""

    VOID = frozenset(("meta", "link", "input", "img", "br"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def shown(records: list[Record], **options: Any) -> _Outline:
    outline = _Outline(page(records, ["records.json"] * len(records), **options))
    assert outline.open == []
    return outline


def test_every_verdict_has_a_tile_and_every_gate_a_row() -> None:
    outline = shown(session())
    tiles = [facts["data-verdict"] for tag, facts in outline.elements if "data-verdict" in facts]
    assert tiles == ["PASS", "FAIL", "WRONG", "ERROR", "INVALID", "INCONCLUSIVE", "MEASURED"]
    rows = [facts for tag, facts in outline.elements if tag == "tr" and "data-n" in facts]
    assert len(rows) == len(session()) + 1  # one record has two gates
    assert "0.613 [0.607, 0.618]" in outline.texts


def test_nothing_is_fetched() -> None:
    outline = shown(load(PROFILED))
    links = [facts.get(name) or "" for _, facts in outline.elements for name in ("src", "href") if name in facts]
    assert [link for link in links if not link.startswith("#") and link != "data:,"] == []
    assert "url(" not in "".join(outline.texts)


def test_section_tells_all_that_the_record_does() -> None:
    text = " ".join(shown(load(PROFILED)).texts)
    for part in (
        *("The race, round by round", "Distribution of samples", "Quantile ladder", "Error against tolerance, by draw"),
        *("SM clock, round by round", "throttling", "small-grid", "tensor_active", "ncu 2025.3.1.0", "-std=c++17"),
        *("registers", "Choice of the reference", "efficient", "--kgate-seed", "NVIDIA H100 80GB HBM3"),
    ):
        assert part in text


def test_knobs_are_shown_with_who_set_them() -> None:
    record = speed_record()
    record["candidate"]["knobs"] = {"STAGES": 2, "PAD": 8}
    record["asked"] = {"command": [], "sources": {}}
    record["asked"]["knobs"] = {"STAGES": {"value": 2, "source": "champion"}, "mode": {"value": "a", "source": "ini"}}
    assert "STAGES=2 (champion), mode=a (ini), PAD=8" in shown([record]).texts


def test_limits_are_shown_with_their_reason() -> None:
    record = with_limits(speed_record(), [limit("registers", 80, 72)])
    text = " ".join(shown([record]).texts)
    assert "registers 80" in text
    assert "registers 80 is above 72" in text


@pytest.mark.parametrize("name", HOSTILE)
def test_names_and_messages_stay_text(name: str) -> None:
    plain = {(tag, *sorted(facts)) for tag, facts in shown([_named("wmma"), error_record()]).elements}
    records = [_named(name), error_record(f"tests/test_a.py::test[{name}]", reason=name)]
    outline = shown(records, notes=[name])
    assert {(tag, *sorted(facts)) for tag, facts in outline.elements} - plain <= {("p", "class")}
    readable = re.sub("[\x00\x1b\u202e\ud83d]", "\ufffd", name)
    assert readable in outline.texts
    page(records, ["a", name]).encode()  # names of files, too


def _named(name: str) -> Record:
    record = speed_record(warnings=(name,))
    record["candidate"] |= {"name": name, "flags": [name], "knobs": {name: 1}}  # type: ignore[typeddict-item]
    record["problem"]["name"] = name
    record["reference"]["name"] = name  # type: ignore[index]
    record["environment"]["gpu"]["name"] = name
    return record


def test_two_files_stand_side_by_side() -> None:
    name = "tests/test_a.py::test_{}".format
    first = [speed_record(name("a"), ratio=0.8), speed_record(name("only_here"))]
    second = [speed_record(name("a"), ratio=0.7)]
    text = page([*first, *second], ["before.json", "before.json", "after.json"])
    pairs = text.partition('id="pairs"')[2].partition("</table>")[0]
    assert pairs.count("<tr>") == 2  # the head, and the gate that both have
    assert re.search(r"<strong>-12(\.\d)? %</strong>", pairs)


def test_rerun_of_a_gate_is_compared_with_its_first_run_in_another_file() -> None:
    first, again = speed_record(ratio=0.8), speed_record(ratio=0.7)
    again["attempt"] = 2
    pairs = page([first, again], ["a.json", "b.json"]).partition('id="pairs"')[2].partition("</table>")[0]
    assert pairs.count("<tr>") == 2


def test_devices_that_are_mixed_are_all_named() -> None:
    records = [speed_record(), speed_record("t.py::t")]
    records[1]["environment"]["gpu"]["name"] = "NVIDIA L4"
    text = " ".join(shown(records).texts)
    assert "Measured under 2 conditions" in text
    assert "NVIDIA H200, driver 570.1" in text
    assert "NVIDIA L4, driver 570.1" in text


def test_grid_of_problems_has_a_heatmap_with_the_worst_of_each_cell() -> None:
    records = [speed_record(f"t.py::t[{index}]", ratio=ratio) for index, ratio in enumerate((0.4, 1.8, 0.6))]
    records[1]["problem"]["name"] = records[2]["problem"]["name"] = "sdpa 1x8x64x64 float16"
    heat = page(records, ["a"] * 3).partition('id="heat"')[2].partition("</table>")[0]
    assert re.findall(r'<td class="(\w+)"><a href="#r(\d)">', heat) == [("fast4", "0"), ("slow3", "1")]


def test_grid_has_its_geometric_mean_for_each_file() -> None:
    shapes = ("1x8x512x64", "1x8x1024x64", "1x8x2048x64")
    records = [speed_record(f"t.py::test_mine[{shape}]") for shape in shapes]
    for record, shape in zip(records, shapes, strict=True):
        record["problem"] |= {"name": f"sdpa {shape}", "shape": [int(extent) for extent in shape.split("x")]}
    text = page([*records, *records], ["a.json"] * 3 + ["b.json"] * 3)
    assert text.count("grid test_mine, ratio below 0.95: 3 of 3 shapes pass; geometric mean 0.61") == 2


def test_five_hundred_records_take_less_than_a_megabyte(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = [record for record in load(PERF) if record["timing"] is not None]
    monkeypatch.setattr("pytest_kgate.report.page.html.page._POINTS", page_module._POINTS // 5)
    records = list(repeated(measured, 100))  # a fifth of them, thinned as all would be: five times as quick
    text = page(records, ["a"] * len(records))
    assert 'id="pack"' in text
    assert len(text.encode()) < 200_000


def test_of_very_many_records_those_that_did_not_pass_are_shown_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_full(records: list[Record]) -> list[int]:
        text = page(records, ["a"] * len(records))
        assert text.count("<tr data-n=") == len(records)
        found = [int(number) for number in re.findall(r'<details class="call" id="r(\d+)"', text)]
        assert (f"{len(found)} of {len(records)} calls" in text) == (len(found) < len(records))
        return found

    monkeypatch.setattr(page_module, "_MOST_SECTIONS", 5)
    monkeypatch.setattr(page_module, "_MOST_PASSING", 3)
    assert in_full([speed_record()] * 4 + [wrong_record()]) == [0, 1, 2, 3, 4]
    assert in_full([speed_record()] * 20 + [wrong_record()]) == [0, 1, 20]
    assert in_full([speed_record()] * 20 + [wrong_record()] * 4) == [20, 21, 22, 23]
    assert in_full([wrong_record()] * 7) == [0, 1, 2, 3, 4]


def test_samples_that_are_left_out_are_said_to_be() -> None:
    texts = shown([speed_record(rounds=96)]).texts
    assert any("960 of 1920 samples are drawn" in text for text in texts)


def test_page_without_records_says_so() -> None:
    assert "No records." in shown([]).texts


def test_odd_numbers_are_shown_and_never_a_traceback() -> None:
    record = speed_record(rounds=12)
    record["gates"][0]["ratio"] = {"low": "NaN", "estimate": "Infinity", "high": "-Infinity", **_RULE}  # type: ignore
    record["timing"]["candidate"]["samples"]["data"] = "damaged"  # type: ignore[index]
    assert any("can't be decoded" in text for text in shown([record, wrong_record(error=None)]).texts)


_RULE = {"confidence": 0.95, "method": "blocks-t"}


def test_report_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new" / "page.html"
    assert cli.main(["report", str(PROFILED), "--format", "html", "--output", str(target)]) == 0
    assert target.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    for arguments, said in (
        (["--output", str(target)], "--output is for --format html."),
        (["--format", "html", "--output", str(tmp_path)], "is a directory"),
        (["--format", "html", "--output", str(target / "page.html")], "can't be written"),
    ):
        assert cli.main(["report", str(PROFILED), *arguments]) == 2
        assert said in capsys.readouterr().err
    assert cli.main(["report", str(PROFILED), "--format", "html", "--output", str(target)]) == 0  # renewed


def test_a_page_takes_the_place_of_no_other_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = tmp_path / "records.json"  # `--output *.json`, say
    records.write_bytes(PROFILED.read_bytes())
    assert cli.main(["report", str(records), "--format", "html", "--output", str(records)]) == 2
    assert "is there already, and is no HTML page" in capsys.readouterr().err
    assert records.read_bytes() == PROFILED.read_bytes()


def test_a_tolerance_is_not_drawn_as_the_bound_of_a_ratio() -> None:
    def ticks(record: Record) -> object:
        return forest([record], [rows_of([record])], [""]).ticks

    raced, checked, measured = speed_record(), allclose_record(), measured_record()
    for record in (checked, measured):
        record["timing"]["ratio"] = raced["gates"][0]["ratio"]  # type: ignore[index]
    assert ticks(checked) == ticks(measured)


def test_words_of_tables_and_drawings_are_escaped_and_readable() -> None:
    table = Table(("a", "b"), [("<i>\x00&", "\u202e1"), ("", 'x"')], numbers_from=1)
    assert markup.body(table) == (
        '<tr><td>&lt;i&gt;\ufffd&amp;</td><td class="n">\ufffd1</td></tr>\n'
        '<tr><td></td><td class="n">x&#34;</td></tr>\n'
    )
    drawing = Drawing()
    drawing.word("</svg>\x00", 1, 2, "end", "bound")
    assert markup.drawn(Figure("", words=drawing.words)) == (
        '<text x="1" y="2" text-anchor="end" class="bound">&lt;/svg&gt;\ufffd</text>'
    )


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_medians_are_those_of_numpy(count: int) -> None:
    samples = np.random.default_rng(1).standard_normal((3, count))
    assert median(samples) == np.median(samples)
    assert row_medians(samples).tolist() == np.median(samples, axis=1).tolist()


def test_gates_are_drawn_over_time_where_there_is_a_history() -> None:
    record = speed_record(bounds=(SpeedGate(0.95), SpeedGate(1.0, quantile=0.9)))
    now = list(points_of(record))
    past = [point(number, test=record["test"], quantile=one.quantile) for one in now for number in range(30)]
    text = page([record], [""], history=[*past, *now])
    assert text.count("in 31 sessions with its interval, on whatever machine") == 2
    assert "<h3>Over time, p90</h3>" in text
    assert "2 Jan 2026" in text
    assert "Over time" not in page([record], [""], history=now)  # a single session is no trend
    _Outline(text)
