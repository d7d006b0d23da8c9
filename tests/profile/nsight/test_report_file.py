"""Reading a report file by Nsight Compute's own module, of which a stand-in with the parts that are used stands here.

A real report is too large to keep: on one of 35 launches from an H100 the module and the raw table said the same.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_kgate.profile.nsight.aggregate import arm_counters
from pytest_kgate.profile.nsight.reading.launch import UnreadableReport
from pytest_kgate.profile.nsight.reading.report_file import launches_of
from pytest_kgate.profile.nsight.reading.report_file import read_report_file

DIRECT = (Path(__file__).parent / "reports" / "direct.csv").read_text(encoding="utf-8")

METRICS = {
    **{f"launch__{what}_dim_{axis}": ("", 2.0) for what in ("grid", "block") for axis in "xyz"},
    "device__attribute_compute_capability_major": ("", 9.0),
    "device__attribute_compute_capability_minor": ("", 0.0),
    "gpu__time_duration.sum": ("ns", 6784.0),
    "smsp__warps_launched.sum": ("warp", 512.0),
    "launch__cluster_scheduling_policy": ("", "PolicySpread"),
    "l1tex__t_sector_hit_rate.pct": ("%", float("nan")),
    "sass__inst_executed_register_spilling_mem_local": ("byte", None),
    "sass__inst_executed_per_opcode": ("", 36.0),
}

OPCODES = {"FFMA": 32.0, "BAR": 4.0}


class Metric:
    def __init__(self, name: str) -> None:
        self.text, self.number = METRICS[name]
        self.opcodes = OPCODES if name == "sass__inst_executed_per_opcode" else {}

    def has_value(self) -> bool:
        return self.number is not None

    def unit(self) -> str:
        return self.text

    def value(self) -> object:
        return self.number

    def as_double(self, index: int | None = None) -> float:
        return float(self.number) if index is None else list(self.opcodes.values())[index]

    def num_instances(self) -> int:
        return len(self.opcodes)

    def correlation_ids(self) -> SimpleNamespace:
        return SimpleNamespace(as_string=lambda index: list(self.opcodes)[index])


class Action:
    NameBase_DEMANGLED = 0

    def name(self, base: int) -> str:
        return "void attention<__half, (int)64>(int, float)"

    def metric_names(self) -> list[str]:
        return list(METRICS)

    def metric_by_name(self, name: str) -> Metric:
        return Metric(name)

    def nvtx_state(self) -> SimpleNamespace:
        ranges = SimpleNamespace(push_pop_ranges=lambda: ("outer", "inner"), start_end_ranges=lambda: ("whole",))
        return SimpleNamespace(domains=lambda: (0,), domain_by_id=lambda _: ranges)


def install(monkeypatch: pytest.MonkeyPatch, actions: int) -> None:
    of_process = SimpleNamespace(num_actions=lambda: actions, action_by_idx=lambda _: Action())
    report = SimpleNamespace(num_ranges=lambda: 1, range_by_idx=lambda _: of_process)
    module = SimpleNamespace(load_report=lambda path: report, __spec__=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "ncu_report", module)  # type: ignore[arg-type]


def test_a_launch_has_what_the_raw_table_has(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, 2)
    first, _ = launches_of(Path("mine.ncu-rep"), lambda: pytest.fail("the module is there"))
    assert first.counters["kernel"] == "void attention<__half, 64>(int, float)"
    assert (first.counters["grid"], first.ranges) == ([2, 2, 2], ("outer", "inner", "whole"))
    assert (first.arch, first.device) == ("sm_90", 0)
    metrics = first.counters["metrics"]
    assert metrics["gpu__time_duration.sum"] == pytest.approx(6.784e-6)
    missing = {"l1tex__t_sector_hit_rate.pct", "launch__cluster_scheduling_policy"}
    assert not missing & set(metrics)


def test_barriers_are_told_from_the_instructions_by_opcode(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, 1)
    arm = arm_counters([one.counters for one in read_report_file(Path("mine.ncu-rep"))], "sm_90")
    assert arm["metrics"]["barriers"]["value"] == 4 / 512


def test_without_the_module_the_table_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ncu_report", None)  # type: ignore[arg-type]
    assert len(launches_of(Path("mine.ncu-rep"), lambda: DIRECT)) == 12


def test_a_report_that_the_module_reads_as_empty_was_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, 0)
    with pytest.raises(UnreadableReport, match=r"mine.ncu-rep can't be read .* no launch in it"):
        read_report_file(Path("mine.ncu-rep"))


def test_a_launch_that_lacks_parts_was_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, 1)
    monkeypatch.setattr(Action, "metric_names", lambda self: ["gpu__time_duration.sum"])
    with pytest.raises(UnreadableReport, match=r"it lacks 'device__attribute|it lacks 'launch__"):
        read_report_file(Path("mine.ncu-rep"))
