"""Reading what `ncu --csv --page raw` writes.

reports/attention.csv and direct.csv are from an H100 with ncu 2025.3, cut to the columns of the table of metrics and a
few others: the first is a page of a report (`--import`, scaled units), the second what ncu prints of a run.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_kgate.profile.nsight.aggregate import arm_counters
from pytest_kgate.profile.nsight.reading.launch import UnreadableReport
from pytest_kgate.profile.nsight.reading.numbers import decimal_mark
from pytest_kgate.profile.nsight.reading.numbers import instance
from pytest_kgate.profile.nsight.reading.numbers import number
from pytest_kgate.profile.nsight.reading.raw_csv import read_raw_csv
from pytest_kgate.profile.nsight.reading.units import factor

REPORTS = Path(__file__).parent / "reports"

ATTENTION = (REPORTS / "attention.csv").read_text(encoding="utf-8")
DIRECT = (REPORTS / "direct.csv").read_text(encoding="utf-8")


def test_launches_of_a_real_report() -> None:
    first, *others = read_raw_csv(ATTENTION)
    assert len(others) == 21
    assert first.counters["kernel"].startswith("void kgate::latency_warpgroup<__half, 64>")
    assert (first.counters["grid"], first.counters["block"]) == ([128, 1, 1], [128, 1, 1])
    assert (first.ranges, first.device, first.arch) == (("latency 1x8x512x64",), 0, "sm_90")


def test_units_become_base_units() -> None:
    metrics = read_raw_csv(ATTENTION)[0].counters["metrics"]
    assert metrics["gpu__time_duration.sum"] == pytest.approx(6.784e-6)  # 0.006784 ms
    assert metrics["dram__bytes_read.sum"] == 1641728.0  # 1.641728 Mbyte
    assert metrics["launch__shared_mem_per_block"] == 83504.0  # 83.504000 Kbyte/block
    assert metrics["sm__cycles_elapsed.avg.per_second"] == pytest.approx(1.856195e9)  # Ghz
    assert metrics["sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed"] == 7.885453
    assert metrics["l1tex__data_pipe_lsu_wavefronts_mem_shared.sum"] == 98092.0  # 98,092


def test_the_lines_in_front_of_the_table_are_passed_over_and_base_units_kept() -> None:
    assert DIRECT.startswith("==WARNING==")
    (first, cudnn, *_) = read_raw_csv("the program's own line\n" + DIRECT + "another\n")
    assert first.counters["metrics"]["dram__bytes_read.sum"] == 15104.0
    assert first.counters["metrics"]["gpu__time_duration.sum"] == pytest.approx(6.4e-6)
    assert cudnn.ranges == ("cudnn 1x8x512x64",)


def test_what_is_no_number_is_left_out() -> None:
    metrics = read_raw_csv(ATTENTION)[0].counters["metrics"]
    assert "sass__inst_executed_register_spilling_mem_local" not in metrics  # no data
    assert "launch__cluster_scheduling_policy" not in metrics  # PolicySpread
    changed = ATTENTION.replace('"7.885453"', '"n/a"').replace('"83.504000"', '"nan"')
    metrics = read_raw_csv(changed)[0].counters["metrics"]
    assert "launch__shared_mem_per_block" not in metrics
    assert "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed" not in metrics


def test_a_report_in_another_language_says_the_same() -> None:
    german = DIRECT.translate(str.maketrans(",.", ".,")).replace('"."', '","').replace('"9,0"', '"9.0"')
    header, *_ = [line for line in DIRECT.splitlines() if line.startswith('"ID"')]
    lines = german.splitlines()
    place = next(place for place, line in enumerate(DIRECT.splitlines()) if line == header)
    lines[place] = header
    assert [one.counters["metrics"] for one in read_raw_csv("\n".join(lines))] == [
        one.counters["metrics"] for one in read_raw_csv(DIRECT)
    ]


def test_a_message_of_a_range_may_hold_colons() -> None:
    named = DIRECT.replace("<default domain>:cudnn 1x8x512x64:", "<default domain>:tests/test_a.py::test[1]:")
    assert read_raw_csv(named)[1].ranges == ("tests/test_a.py::test[1]",)


def test_a_report_of_two_processes_has_a_table_each() -> None:
    assert len(read_raw_csv(DIRECT + DIRECT)) == 2 * len(read_raw_csv(DIRECT))


def test_no_kernels_is_no_error() -> None:
    assert read_raw_csv("no kernels\n==WARNING== No kernels were profiled.\n") == []


def test_a_report_that_was_cut_off_within_a_line_is_refused_wherever_that_was() -> None:
    start = DIRECT.index('"ID"')
    for end in range(start + 20, start + 3000, 7):
        whole_lines = DIRECT[end] == "\n" or DIRECT[end - 1] == "\n"
        if not whole_lines:
            with pytest.raises(UnreadableReport, match=r"ends in the middle|no table"):
                read_raw_csv(DIRECT[:end])


def test_a_report_without_a_table_shows_what_was_said() -> None:
    with pytest.raises(UnreadableReport, match=r"(?s)no table of counters.*==ERROR== The application returned"):
        read_raw_csv("==PROF== Connected to process 7\n==ERROR== The application returned an error code (11).\n")


def test_several_launches_of_a_real_call_make_one_value() -> None:
    """Attention from a library's products: two of those, a softmax and a division between them."""
    launches = [one.counters for one in read_raw_csv(ATTENTION) if one.ranges == ("cublas 1x8x512x64",)]
    arm = arm_counters(launches, "sm_90")
    assert arm["launch_count"] == 4
    assert arm["metrics"]["instructions"]["value"] == 555264 + 1400832 + 379046 + 141312
    assert arm["metrics"]["registers"]["value"] == 168.0
    tensor = arm["metrics"]["tensor"]["value"]
    assert tensor == pytest.approx((3.797062 * 13123 + 4.788727 * 11710) / (13123 + 13962 + 11710 + 6882), rel=1e-6)


@pytest.mark.parametrize(
    ("cell", "mark", "value"),
    [
        *[
            ("1,234.50", ".", 1234.5),
            ("1.234,50", ",", 1234.5),
            ("1\u202f234,5", ",", 1234.5),
            ("1'234.5", ".", 1234.5),
        ],
        *[("0", ".", 0.0), ("-3.5", ".", -3.5), ("1e-3", ".", 0.001), ("n/a", ".", None), ("", ".", None)],
        *[("nan", ".", None), ("inf", ".", None), ("(128, 1, 1)", ".", None)],
    ],
)
def test_numbers_of_several_languages(cell: str, mark: str, value: float | None) -> None:
    assert number(cell, mark) == value


@pytest.mark.parametrize(
    ("cells", "mark"),
    [
        (["1,234", "12.25"], "."),
        (["1.234", "12,25"], ","),
        (["1,234", "5"], "."),
        (["1.234", "5"], "."),
        (["1.234.567", "5"], ","),
        (["1,234,567"], "."),
        (["1\u00a0234,5"], ","),
    ],
)
def test_the_decimal_mark_is_told_from_numbers_that_can_only_be_read_one_way(cells: list[str], mark: str) -> None:
    assert decimal_mark(cells) == mark


@pytest.mark.parametrize(
    ("unit", "base"),
    [
        *[("%", 1.0), ("", 1.0), ("inst/cycle", 1.0), ("register/thread", 1.0), ("SM", 1.0), ("warp", 1.0)],
        *[
            ("byte", 1.0),
            ("Kbyte", 1e3),
            ("Kbyte/block", 1e3),
            ("Mbyte", 1e6),
            ("Tbyte/s", 1e12),
            ("Gbyte/second", 1e9),
        ],
        *[("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("nsecond", 1e-9), ("msecond", 1e-3)],
        *[("hz", 1.0), ("Mhz", 1e6), ("Ghz", 1e9), ("cycle/nsecond", 1e9), ("sector/ns", 1e9), ("Tbyte/s", 1e12)],
    ],
)
def test_units(unit: str, base: float) -> None:
    assert factor(unit) == pytest.approx(base)


def test_barriers_are_told_from_the_instructions_by_opcode() -> None:
    for cell in ("36 (BAR: 4; FFMA: 32)", "36 (FFMA: 32; BAR: 4)"):
        assert (number(cell), instance(cell, "BAR"), instance(cell, "WARPSYNC")) == (36.0, 4.0, 0.0)
    assert (number("36"), instance("36", "BAR")) == (36.0, None)
    table = DIRECT.replace('"dram__bytes_read.max"', '"sass__inst_executed_per_opcode"')
    table = table.replace('"1,280"', '"36 (UCGABAR_WAIT: 8; BAR: 4; FFMA: 32)"')
    metrics = read_raw_csv(table)[0].counters["metrics"]
    assert (metrics["sass__inst_executed_per_opcode"], metrics["sass__inst_executed_per_opcode[BAR]"]) == (36.0, 4.0)


def test_a_cell_may_have_line_ends_in_it() -> None:
    table = DIRECT.replace('"1,280"', '"1,280 (0: 640;\n1: 640)"')
    assert [one.counters for one in read_raw_csv(table)] == [one.counters for one in read_raw_csv(DIRECT)]


def test_ranges_that_were_started_are_read_as_those_that_were_pushed() -> None:
    started = DIRECT.replace("<default domain>:cudnn 1x8x512x64:", "3:<default domain>:cudnn 1x8x512x64:")
    assert read_raw_csv(started)[1].ranges == ("cudnn 1x8x512x64",)
