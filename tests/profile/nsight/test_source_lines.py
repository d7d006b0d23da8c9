"""Where warps wait, by source line, with a stand-in for Nsight Compute's module `ncu_report`."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_kgate.profile.nsight.command import pages
from pytest_kgate.profile.nsight.reading.launch import UnreadableReport

SAMPLES = {"smsp__pcsamp_sample_count": {16: 60, 32: 20, 48: 15, 64: 5}}
WAIT = {
    "smsp__pcsamp_warps_issue_stalled_wait": {16: 45, 32: 20},
    "smsp__pcsamp_warps_issue_stalled_selected": {16: 15},
}
CALL = SimpleNamespace(places=(0,), launches=[{"kernel": "void attention<64>(Args)"}])


class Action:
    def __init__(self, metrics, lines):
        self._metrics = metrics
        self._lines = lines

    def metric_names(self):
        return [*self._metrics, "smsp__pcsamp_warps_issue_stalled_wait_not_issued"]

    def metric_by_name(self, name):
        values = list(self._metrics[name].items())
        return SimpleNamespace(
            num_instances=lambda: len(values),
            as_uint64=lambda each: values[each][1],
            correlation_ids=lambda: SimpleNamespace(as_uint64=lambda each: values[each][0]),
        )

    def source_info(self, address):
        line = self._lines.get(address)
        return line and SimpleNamespace(file_name=lambda: line[0], line=lambda: line[1])

    def source_files(self):
        return {str(Path.cwd() / "csrc" / "mine.cu"): "first\n  p[j] = exp2(p[j]);\n"}

    def sass_by_pc(self, address):
        return f"  MUFU.EX2   R{address}"


@pytest.fixture
def of(monkeypatch):
    def lines(action):
        launches = SimpleNamespace(num_actions=lambda: 1, action_by_idx=lambda place: action)
        report = SimpleNamespace(num_ranges=lambda: 1, range_by_idx=lambda place: launches)
        module = SimpleNamespace(load_report=lambda path: report, __spec__=SimpleNamespace())
        monkeypatch.setitem(sys.modules, "ncu_report", module)
        return pages.stalls_of(Path("ncu"), Path("a.ncu-rep"), CALL)

    return lines


def test_samples_are_added_up_by_source_line_with_its_text_and_what_warps_wait_for(of):
    mine, theirs = str(Path.cwd() / "csrc" / "mine.cu"), "/usr/local/cuda/include/crt/mma.hpp"
    action = Action(SAMPLES | WAIT, {16: (mine, 2), 32: (mine, 2), 48: (theirs, 626)})
    assert of(action) == [
        "launch 1, void attention<64>(Args):",
        "   80.0%  csrc/mine.cu:2  p[j] = exp2(p[j]);  (wait 81%)",
        "   15.0%  crt/mma.hpp:626",
        "    5.0%  (no line)",
    ]


def test_kernels_without_line_information_are_told_by_instructions(of):
    lines = of(Action(SAMPLES | WAIT, {48: ("a.cu", 3)}))
    assert lines[1:3] == ["   60.0%  MUFU.EX2 R16  (wait 75%)", "   20.0%  MUFU.EX2 R32  (wait 100%)"]


def test_a_report_without_samples_says_so(of):
    assert of(Action({}, {})) == ["launch 1, void attention<64>(Args):", "  it has no samples"]


def test_what_the_module_can_not_read_is_no_crash(of):
    with pytest.raises(UnreadableReport, match="does not tell where warps waited"):
        of(None)
