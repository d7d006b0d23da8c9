"""On a GPU: every metric of the table is measured by its names, and both ways to read a report say the same."""

from __future__ import annotations

import contextlib
import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_kgate.profile.nsight.aggregate import arm_counters
from pytest_kgate.profile.nsight.collection.page import launches_in
from pytest_kgate.profile.nsight.metrics.metric import CHIPS
from pytest_kgate.profile.nsight.metrics.table import METRICS
from pytest_kgate.profile.nsight.metrics.table import raw_names
from pytest_kgate.profile.nsight.reading.launch import Launch
from pytest_kgate.profile.nsight.reading.launch import UnreadableReport
from pytest_kgate.profile.nsight.reading.raw_csv import read_raw_csv

pytestmark = [
    pytest.mark.gpu(alone=False),
    pytest.mark.skipif(shutil.which("ncu") is None, reason="needs ncu"),
]

SEES_ALL = """
import torch
from torch.cuda import nvtx
x = torch.randn(512, 512, device="cuda", dtype=torch.float16)
wide = torch.randn(64, 16384, device="cuda")
def launch():
    x @ x, wide.softmax(-1), x.t().contiguous()
    torch.cuda.synchronize()
launch()
torch.cuda.profiler.start()
nvtx.range_push("pushed")
started = nvtx.range_start("started: twice")
launch()
nvtx.range_end(started)
nvtx.range_pop()
torch.cuda.profiler.stop()
"""
"""A product, a softmax of rows that take a block each (barriers, exponentials), and a transposition."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ncu") / "seen.ncu-rep"
    command = ["ncu", "--export", str(path), "--profile-from-start", "off", "--nvtx", "--clock-control", "none"]
    command += ["--metrics", ",".join(raw_names(METRICS, _arch())), sys.executable, "-c", SEES_ALL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert path.exists(), done.stdout + done.stderr
    return path


@pytest.fixture(scope="module")
def table(report: Path) -> str:
    command = ["ncu", "--import", str(report), "--csv", "--page", "raw", "--print-metric-instances", "details"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.fixture(scope="module")
def launches(table: str) -> list[Launch]:
    return read_raw_csv(table)


def _arch() -> str:
    import torch

    return "sm_{}{}".format(*torch.cuda.get_device_capability())


def test_every_metric_of_the_table_has_a_value(launches: list[Launch]) -> None:
    assert len(launches) >= 3
    found = arm_counters([one.counters for one in launches], launches[0].arch)["metrics"]
    assert [name for name in METRICS if name not in found and METRICS[name].on(launches[0].arch)] == []


def test_softmax_has_barriers_and_a_product_tensor_operations(launches: list[Launch], table: str) -> None:
    found = arm_counters([one.counters for one in launches], launches[0].arch)["metrics"]
    by_opcode = [cell for row in csv.reader(table.splitlines()) for cell in row if "BAR" in cell and "FFMA" in cell]
    assert "barriers" in found, by_opcode
    assert found["barriers"]["value"] > 0
    assert found["tensor_ops"]["value"] >= 2 * 512**3


def test_both_kinds_of_ranges_are_read(launches: list[Launch]) -> None:
    assert {one.ranges for one in launches} == {("pushed", "started: twice")}


def test_the_module_reads_what_the_table_has(report: Path, launches: list[Launch]) -> None:
    pytest.importorskip("ncu_report")
    from pytest_kgate.profile.nsight.reading.report_file import read_report_file

    for ours, theirs in zip(read_report_file(report), launches, strict=True):
        assert (ours.ranges, ours.arch, ours.counters["grid"]) == (theirs.ranges, theirs.arch, theirs.counters["grid"])
        for raw in raw_names(METRICS, ours.arch):
            if raw in theirs.counters["metrics"]:
                # the table has two digits behind the point
                assert ours.counters["metrics"][raw] == pytest.approx(
                    theirs.counters["metrics"][raw], rel=2e-3, abs=0.01
                )


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7, 0.98])
def test_a_real_report_that_was_cut_off_is_refused_or_whole(
    report: Path, launches: list[Launch], tmp_path: Path, kept: float
) -> None:
    content = report.read_bytes()
    cut = tmp_path / "cut.ncu-rep"
    cut.write_bytes(content[: int(kept * len(content))])
    with contextlib.suppress(UnreadableReport):
        assert len(launches_in(cut, Path(str(shutil.which("ncu"))), "")) == len(launches)


@pytest.mark.parametrize("arch", CHIPS)
def test_ncu_lists_the_counters_of_every_architecture(arch: str) -> None:
    command = ["ncu", "--query-metrics", "--chips", CHIPS[arch]]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    listed = {line.split()[0] for line in said.splitlines() if line.strip()}
    counters = {raw.partition(".")[0] for raw in raw_names(METRICS, arch) if "." in raw}
    assert sorted(counters - listed) == []
