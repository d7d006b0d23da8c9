"""What users of `kgate profile` see, with a stand-in for ncu on PATH.

reports/details.csv and source.csv are from an H100 with ncu 2025.3, cut to a few rules and instructions.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from record_schema import demand_valid
from stand_in_ncu import TESTS

import pytest_kgate.bench.call  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from pytest_kgate.bench.race.speed_of_light.rates import MeasuredRates
from pytest_kgate.bench.race.speed_of_light.rates import Rate
from pytest_kgate.cli import main
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.errors import DeviceMissing
from pytest_kgate.profile.nsight.command import command
from pytest_kgate.profile.nsight.command.compared import compared
from pytest_kgate.profile.nsight.command.position import UNSAID
from pytest_kgate.profile.nsight.command.position import position
from pytest_kgate.profile.under_tool import program
from pytest_kgate.report.record.document import load

pytest.importorskip("jsonschema", reason="needs jsonschema, of the extra `test`")


@pytest.fixture
def folder(suite, ncu, monkeypatch):
    """A user's folder with tests, on a machine whose GPU is none."""
    pytester = suite(
        TESTS
        + """
def test_two(kbench):
    several = {"slower": torch.nn.functional.silu, "faster": torch.nn.functional.silu}
    kbench(good, Problem("silu", SILU.inputs, several, SILU.exact, flops=8e4, bytes=4e4))

def test_falls(kbench):
    assert False, "before it called anything"
"""
    )
    monkeypatch.chdir(pytester.path)
    monkeypatch.setenv("PAGES", str(Path(__file__).parent / "reports"))
    monkeypatch.setattr(command, "open_device", lambda spec: FakeDevice({}))
    return pytester.path


def test_candidates_are_shown_beside_their_references_counter_by_counter(folder, capsys, ncu):
    assert main(["profile", "test_mine.py", "-k", "test", "--rules", "--source", "--json", "found.json"]) == 1
    said = capsys.readouterr().out
    assert "test_mine.py::test_one: good beside reference on silu 64x64" in said
    assert "test_mine.py::test_two: good beside slower on silu" in said
    assert "ncu 2025.3.1.0, caches as in a hot race; its times are not a race's" in said
    assert "tensor 1.0 % 2.0 % 0.50x" in " ".join(said.split())
    assert UNSAID in said
    assert "FLOPs a byte: 8e+04 FLOPs, 4e+04 bytes" in said
    assert "OPT SOLBottleneck: This kernel grid is too small to fill the available resources" in said
    assert "29.5%  UMOV UR16, 0x400  (no_inst 100%)" in said
    assert "test_mine.py::test_falls\n  not measured: The test failed under ncu: " in said
    assert "before it called anything" in said
    demand_valid(json.loads((folder / "found.json").read_text()))
    one, two = load(folder / "found.json")
    assert (one["verdict"], one["counters"]["state"], two["reference"]["backend"]) == ("MEASURED", "measured", "slower")
    (start,) = [call for call in ncu() if "--export" in call]
    assert "issue_stalled_barrier" in start[start.index("--metrics") + 1], "it is asked why"
    assert start[start.index("--set") + 1] == "detailed"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["test_none.py"], "not measured"),
        (["test_mine.py", "--keep", "report.txt"], "--keep cannot be report.txt"),
        (["test_mine.py", "--timeout", "0"], "--timeout cannot be 0"),
        (["test_mine.py", "--device", "host"], "--device cannot be host. Counters are of a GPU"),
    ],
)
def test_what_makes_no_sense_is_refused(folder, monkeypatch, capsys, arguments, said):
    monkeypatch.setenv("BROKEN", "crash")
    assert main(["profile", *arguments]) > 0
    assert said in " ".join("".join(capsys.readouterr()).split())


def test_without_ncu_the_command_says_what_to_do(folder, monkeypatch, capsys):
    monkeypatch.setattr(program, "_candidates", lambda name: iter(()))
    assert main(["profile", "test_mine.py"]) == 2
    assert "ncu was not found" in capsys.readouterr().err


def test_without_a_gpu_the_host_is_not_advised(folder, monkeypatch, capsys):
    def missing(name):
        raise DeviceMissing("No CUDA device is available to this PyTorch.", "Run with --kgate-device host.")

    monkeypatch.setattr(command, "open_device", missing)
    assert main(["profile", "test_mine.py"]) == 2
    said = capsys.readouterr().err
    assert "No CUDA device is available" in said
    assert "host" not in said


def arm(**values):
    units = {"duration": "seconds", "dram_read": "bytes", "tensor": "%", "sm_clock": "hertz"}
    metrics = {name: {"value": value, "unit": units.get(name, ""), "raw": name} for name, value in values.items()}
    return {"launches": [], "launch_count": 1, "metrics": metrics}


def test_values_are_shown_in_units_that_people_read():
    ours = arm(tensor=64.8, dram_read=5 * 2**20, duration=6.78e-6, sm_clock=1.83e9, sm_cycles=12473.0, bank_conflicts=0)
    theirs = arm(tensor=32.4, dram_read=0.0, sm_cycles=12473.0, bank_conflicts=0)
    lines = [" ".join(line.split()) for line in compared({"candidate": ours, "reference": theirs})]
    text = "\n".join(lines)
    assert "tensor 64.8 % 32.4 % 2.00x" in text
    assert " MiB 0 B\n" in text
    assert "duration 6.78 us -\n" in text
    assert "sm_clock 1.83 GHz -" in text
    assert "sm_cycles 12,473 12,473 1.00x" in text
    assert "bank_conflicts" not in text
    everything = "\n".join(compared({"candidate": ours, "reference": theirs}, everything=True))
    assert "bank_conflicts" in everything
    assert "  Tensor cores, for" in everything


def test_the_place_under_the_roofline_is_told_by_the_problem_and_by_the_counters():
    ours = arm(tensor_ops=9e8, fp32_ops=1e8, dram_read=3e6, dram_write=1e6, l2_bytes=9e6)
    record = {
        "counters": {"candidate": ours, "reference": None},
        "problem": {"flops": 1e9, "bytes": 2e6, "dtype": "float16"},
    }
    rate = Rate(per_second=8e14, spread=0.01, size=8192)
    rates = MeasuredRates({}, "2026-11-27", 1.0, {"float16": rate}, {}, (Rate(2e12, 0.01, 2**30),))
    text = "\n".join(position(record, rates))
    assert "by the problem 500 FLOPs a byte: 1e+09 FLOPs, 2e+06 bytes" in text
    assert "candidate counted 250 FLOPs a byte: 1e+09 FLOPs (90.0% on tensor cores), 4e+06 bytes" in text
    assert "of device memory, 9e+06 bytes of the L2 cache" in text
    assert (
        "the roofline bends at 400 FLOPs a byte by this device's measured rates; the problem is compute-bound" in text
    )
    assert "`kgate roofline` measures" in position(record, None)[-1]
