"""The summary table: complete where there is room, never wider than the terminal."""

from __future__ import annotations

import re

import pytest
from sample_records import allclose_record
from sample_records import measured_record
from sample_records import session
from sample_records import speed_record
from sample_records import wrong_record

from pytest_kgate.bench.race.evidence import order_effects
from pytest_kgate.report.ci.properties import properties_of
from pytest_kgate.report.record.facts.timing import EffectFacts
from pytest_kgate.report.record.facts.timing import PositionFacts
from pytest_kgate.report.record.record import Record
from pytest_kgate.report.text.summary import summary_table
from pytest_kgate.statistics.gates import SpeedGate


def position(first_sample: float) -> PositionFacts:
    """Of a race whose first samples are slower by so much, and in which the place means nothing."""
    nothing: EffectFacts = {"mean": 0.0, "t": 0.0}
    first: EffectFacts = {"mean": first_sample, "t": 9.0}
    return {"candidate": nothing, "reference": nothing, "bias": 0.0, "ratio_se": 0.001, "first_sample": first}


NUMBER = re.compile(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]")


def rows(table: str) -> list[str]:
    return table.splitlines()


def row_of(table: str, name: str) -> str:
    return next(line for line in rows(table) if name in line)


@pytest.mark.parametrize("width", [60, 70, 80, 90, 100, 110, 120, 140, 200])
def test_table_is_never_wider_than_the_terminal(width: int) -> None:
    table = summary_table(session(), width)
    assert max(map(len, rows(table))) <= width
    intervals = [line for line in rows(table) if "[0." in line or "[1." in line]
    assert len(intervals) == 7
    assert all(NUMBER.search(line) for line in intervals)
    assert table.isascii()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_every_verdict_ends_a_line_whatever_the_width(width: int) -> None:
    ends = [re.sub(r" \d+$", "", line) for line in rows(summary_table(session(), width))]
    for verdict, count in {"INCONCLUSIVE": 2, "FAIL": 1, "INVALID": 1, "ERROR": 1, "WRONG": 1}.items():
        assert sum(line.endswith(f" {verdict}") for line in ends) == count


def test_everything_is_there_at_120_columns() -> None:
    table = summary_table(session(), 120)
    assert (
        " ".join(rows(table)[0].split())
        == "gate candidate reference ratio, 95 % interval bound less ! more rounds verdict"
    )
    line = row_of(table, "1x8x4096x128")
    for part in ("545 us", "451 us cudnn", "1.209 [1.198, 1.221]", " 0.95 ", "!", " 12 ", "FAIL"):
        assert part in line


def test_drawing_and_rounds_are_there_at_100_columns() -> None:
    table = summary_table(session(), 100)
    assert re.search(r"0\.95  [-<\[=|\]]{4}![-=|\]>]{4}  INCONCLUSIVE 96$", row_of(table, "1x8x512x64-causal"))
    assert "! is the bound" in table


def test_reference_without_a_name_takes_no_room_of_the_tests_names() -> None:
    records = [speed_record(f"test_of_a_long_name_{number}") for number in range(2)]
    for record in records:
        assert record["reference"] is not None
        record["reference"]["name"] = "<lambda>"
    table = summary_table(records, 80)
    assert "<lambda>" not in table
    assert "test_of_a_long_name_1 " in table


def test_drawing_is_dropped_first_at_80_columns() -> None:
    table = summary_table(session(), 80)
    assert "!" not in table
    assert re.search(r"545 us +451 us +1\.209 \[1\.198, 1\.221\] +0\.95  FAIL$", row_of(table, "1x8x4096x128"))


def test_short_names_leave_their_room_to_other_columns() -> None:
    assert max(len(row) for row in rows(summary_table([speed_record("test_silu")], 80))) <= 80


def test_long_names_give_way_but_keep_their_ends() -> None:
    long = "tests/a.py::test_a_kernel_with_a_name_that_never_ends[batch-1-heads-8-sequence-512-dimension-{}]"
    records = [speed_record(long.format(dimension)) for dimension in (64, 128)]
    for width in (60, 80, 100):
        table = summary_table(records, width)
        assert max(map(len, rows(table))) <= width
        assert re.search(r"n-64 +", table)
        assert re.search(r"n-128 +", table)
    assert "12.4 us cudnn" in table


GRID = [
    f"tests/test_a.py::test_mma[{extents}{causal}-{dtype}]"
    for extents in ("2x8x2048x64", "2x8x2048x128")
    for causal in ("", "-causal")
    for dtype in ("float16", "bfloat16")
]
"""Names whose ends and starts are alike."""


def test_cases_of_a_grid_are_told_apart_at_80_columns_and_the_bound_they_share_makes_room() -> None:
    lines = summary_table([speed_record(name) for name in GRID], 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert "test_mma, bound 0.95" in lines
    for name in GRID:
        assert sum(f" {name.partition('[')[2][:-1]} " in line and "12.4 us" in line for line in lines) == 1


def test_a_shared_bound_gives_its_column_to_names_that_would_be_cut() -> None:
    names = ["tests/test_a.py::test_mma[1x8x17x64-float16]", "tests/test_a.py::test_mma[1x8x17x64-causal-bfloat16]"]
    assert " 1x8x17x64-causal-bfloat16 " in summary_table([speed_record(name) for name in names], 80)
    assert ", bound" not in summary_table([speed_record(names[0])], 80)


def test_cases_with_bounds_of_their_own_are_told_apart_too() -> None:
    bounds = [SpeedGate(0.95), SpeedGate(0.9)]
    lines = summary_table(
        [speed_record(name, bounds=(bounds[at % 2],)) for at, name in enumerate(GRID)], 80
    ).splitlines()
    assert max(map(len, lines)) <= 80
    cases = [line.split()[0] for line in lines if "PASS" in line and "[" in line]
    assert len(set(cases)) == len(GRID)
    assert sum(" 0.9 " in line or " 0.90 " in line for line in lines) == len(GRID) / 2


def test_parameters_in_brackets_are_shown_as_they_are() -> None:
    table = summary_table([speed_record("a.py::t[one [red] row]"), speed_record("a.py::t[[x]]")], 100)
    assert "one [red] row" in table
    assert re.search(r"^ \[x\] ", table, re.MULTILINE)


def test_tests_of_several_files_show_their_file() -> None:
    table = summary_table([speed_record("a.py::test_x[1]"), speed_record("b.py::test_x[1]")], 100)
    assert "a.py::test_x" in table
    assert "b.py::test_x" in table


def test_cases_of_a_test_stand_together_in_whatever_order_they_came() -> None:
    order = ["a.py::one[1]", "a.py::two[1]", "a.py::one[2]"]
    lines = rows(summary_table([speed_record(test) for test in order], 80))
    assert [line.split()[0] for line in lines[1:6]] == ["one", "1", "2", "two", "1"]


def test_gates_of_one_race_have_a_row_each() -> None:
    gates = (SpeedGate(0.95), SpeedGate(1.0, quantile=0.9), SpeedGate(1.1, quantile=0.75))
    table = summary_table([speed_record("a.py::t[s]", bounds=gates)], 100)
    assert [line.split()[:2] for line in rows(table)[2:5]] == [["s", "7.58"], ["s", "p90"], ["s", "p75"]]
    assert "3 PASS" in table


def test_gate_on_a_quantile_that_was_not_judged_shows_no_ratio_of_medians() -> None:
    record = speed_record("a.py::t", bounds=(SpeedGate(0.95, quantile=0.9),), rounds=6)
    record["timing"]["candidate"]["p90_seconds"] = 2 * record["timing"]["reference"]["p90_seconds"]
    line = row_of(summary_table([record], 100), "p90")
    assert "2.000" in line
    assert "[" not in line


def test_second_call_of_a_test_is_numbered() -> None:
    table = summary_table([speed_record("a.py::t"), speed_record("a.py::t", call=1)], 100)
    assert "t #2 " in table


def test_error_bound_alone_has_a_row() -> None:
    line = row_of(summary_table([allclose_record("a.py::test_x")], 100), "test_x")
    assert "error 4.9e-04" in line
    assert "2e-03" in line
    assert "PASS" in line


def test_error_that_says_nothing_is_not_shown() -> None:
    """Where the problem's `equal` has judged, the answer may be finite, right, and far from the exact one."""
    wrong = wrong_record("a.py::test_x")
    assert wrong["correctness"] is not None
    wrong["correctness"].update(by_equal=True, failed="equal", atol=0.0)
    passed = allclose_record("a.py::test_y")
    assert passed["correctness"] is not None
    passed["correctness"]["by_equal"] = True
    table = summary_table([wrong, passed], 100)
    assert row_of(table, "test_x").split() == ["test_x", "equal", "WRONG"]
    assert "error" not in table
    assert "e-0" not in table
    assert "error" not in " ".join(name for one in (wrong, passed) for name, _ in properties_of(one))


def test_measurement_without_demands_has_a_row() -> None:
    line = row_of(summary_table([measured_record("a.py::test_x")], 100), "test_x")
    assert "0.61" in line
    assert "7.59 us" in line
    assert "MEASURED" in line


def test_columns_that_would_be_empty_are_left_out() -> None:
    header = rows(summary_table([measured_record("a.py::test_x")], 100))[0]
    assert " ".join(header.split()) == "gate candidate raced against reference ratio, interval rounds verdict"


def test_warnings_stand_below_once_with_their_count() -> None:
    records = [
        speed_record("a.py::a", warnings=("clocks moved", "odd tick")),
        speed_record("a.py::b", warnings=("clocks moved",)),
        speed_record("a.py::c"),
    ]
    lines = rows(summary_table(records, 100))
    assert "warning: clocks moved (in 2 of 3 tests)" in lines
    assert "warning: odd tick (in 1 of 3 tests)" in lines


def test_warnings_of_one_kind_stand_together_with_the_range_of_their_numbers() -> None:
    def told(host: str, device: str, test: int) -> Record:
        text = f"one call costs the host {host} and the GPU {device}, which the graph timer leaves out"
        return speed_record(f"a.py::t[{test}]", warnings=(text, "one tick of the timer is 3.4 % of a latency"))

    records = [told("930 us", "9.8 us", 1), told("1.20 ms", "10.1 us", 2), told("45 us", "10.1 us", 3)]
    shown = " ".join(summary_table([*records, speed_record("a.py::u")], 80).split())
    assert "one call costs the host 45 us to 1.20 ms and the GPU 9.8 to 10.1 us, which the graph" in shown
    assert "leaves out (in 3 of 4 tests)" in shown
    assert "warning: one tick of the timer is 3.4 % of a latency (in 3 of 4 tests)" in shown


def test_names_with_numbers_are_not_taken_for_a_range() -> None:
    names = ["threads that the candidate started still live: worker-1", "the kernel sm90_tile_64 is a library's [0, 3]"]
    others = [name.translate(str.maketrans("1364", "2585")) for name in names]
    lines = rows(summary_table([speed_record("a.py::a", warnings=(*names, *others))], 200))
    assert {f"warning: {name}" for name in (*names, *others)} <= set(lines)


@pytest.mark.parametrize(
    "warning",
    [
        "raced a second time, for in the first race the stream was starved",
        "the SM clock stepped within rounds, by up to 2.3 %: too little to turn the verdict",
        "another process had the GPU open during the race: accepted, as asked",
        "the GPU throttled when the race began: power cap; both arms ran under it",
        *order_effects.judge_position(position(first_sample=0.03))[1],
    ],
)
def test_what_asks_nothing_of_the_reader_stays_in_the_record(warning: str) -> None:
    assert "warning" not in summary_table([speed_record("a.py::a", warnings=(warning,))], 100)


def test_verdicts_are_counted() -> None:
    lines = rows(summary_table(session(), 100))
    assert lines[-1] == "4 PASS, 1 FAIL, 1 WRONG, 1 ERROR, 1 INVALID, 2 INCONCLUSIVE, 1 MEASURED"


@pytest.mark.parametrize(
    ("name", "value"), [("TERM", "dumb"), ("COLUMNS", "40"), ("NO_COLOR", "1"), ("FORCE_COLOR", "1")]
)
def test_table_depends_on_its_arguments_only(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    plain, colored = summary_table(session(), 100), summary_table(session(), 100, color=True)
    monkeypatch.setenv(name, value)
    assert summary_table(session(), 100) == plain
    assert summary_table(session(), 100, color=True) == colored


def test_colour_changes_nothing_but_colour() -> None:
    colored = summary_table(session(), 100, color=True)
    assert "\x1b[" in colored
    stripped = [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", colored).splitlines()]
    assert stripped == rows(summary_table(session(), 100))


def test_no_records_make_no_table() -> None:
    assert summary_table([], 100) == ""


def test_long_names_push_no_figures_out_at_80_columns() -> None:
    long = speed_record("tests/kernels/test_decoder.py::test_sliding_window[float16-1x8x512x64-causal-w128-stages3]")
    other = speed_record("tests/other/test_b.py::test_a_name_without_parameters_that_goes_on_and_on_to_no_end")
    other["reference"]["name"] = "torch.nn.functional.scaled_dot_product_attention"
    other["reference"]["backend"] = None
    lines = summary_table([long, other], 80).splitlines()
    assert max(map(len, lines)) <= 80
    figures = [line for line in lines if "PASS" in line and "12.4 us" in line]
    assert len(figures) == 2
    assert all(".." in line and "7." in line and "[" in line for line in figures)


def test_a_tolerance_is_not_drawn_as_the_bound_of_a_ratio() -> None:
    raced, checked = speed_record(), allclose_record()
    checked["timing"]["ratio"] = raced["gates"][0]["ratio"]  # type: ignore[index]
    table = summary_table([raced, checked], 200)
    assert "--!--" in row_of(table, "test_wmma")
    assert "!" not in row_of(table, "test_correct")
    assert "! is the bound" not in summary_table([checked], 200)
