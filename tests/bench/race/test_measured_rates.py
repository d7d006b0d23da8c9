"""The measured roofline: which rate sets a problem's floor, what is kept of a device, and when it is measured anew."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from pytest_kgate import Problem
from pytest_kgate import cli
from pytest_kgate.bench.race.speed_of_light import kept
from pytest_kgate.bench.race.speed_of_light import measure
from pytest_kgate.bench.race.speed_of_light.command import lines_of
from pytest_kgate.bench.race.speed_of_light.rates import TF32
from pytest_kgate.bench.race.speed_of_light.rates import MeasuredRates
from pytest_kgate.bench.race.speed_of_light.rates import Rate
from pytest_kgate.bench.race.speed_of_light.rates import floor_of
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.host import HostDevice
from pytest_kgate.device.protocol import Reading

MIB = 2**20
GPU = MeasuredRates(
    {"name": "some GPU"},
    "2026-11-27T12:00:00+00:00",
    1.0,
    {
        "float16": Rate(600e12, 0.01, 8192),
        "float32": Rate(50e12, 0.01, 4096),
        TF32: Rate(400e12, 0.01, 8192),
        "float8_e4m3fn": Rate(1200e12, 0.01, 8192),
    },
    {"int8": "no such product"},
    (Rate(2e12, 0.0, 4 * MIB), Rate(5e12, 0.0, 16 * MIB), Rate(4e12, 0.0, 32 * MIB), Rate(2.5e12, 0.0, 2048 * MIB)),
)


def problem(flops=None, bytes=None, dtype="float16"):
    return Problem("any", lambda g: (), lambda: None, lambda: None, flops=flops, bytes=bytes, dtype=dtype)


def floor(cache="cold", tf32=False, **facts):
    return floor_of(problem(**facts), GPU, cache, tf32)


def test_what_takes_longer_sets_the_floor():
    found = floor(flops=6e12, bytes=2.5e9)
    assert (found.set_by, found.seconds) == ("flops", pytest.approx(0.01))
    assert found.demand == "6e+12 FLOPs at 6e+14 a second (float16)"
    found = floor(flops=6e9, bytes=2.5e9)
    assert (found.set_by, found.seconds) == ("bytes", pytest.approx(1e-3))


@pytest.mark.parametrize(("facts", "set_by"), [({"flops": 1e12}, "flops"), ({"bytes": 1e9}, "bytes")])
def test_one_of_flops_and_bytes_is_enough(facts, set_by):
    assert floor(**facts).set_by == set_by


@pytest.mark.parametrize(
    ("dtype", "tf32", "rate"),
    [
        ("float32", False, 50e12),
        ("float32", True, 400e12),
        ("float16", True, 600e12),
        ("float8_e5m2", False, 1200e12),
    ],
)
def test_flops_count_at_the_rate_of_their_type(dtype, tf32, rate):
    assert floor(flops=1e12, dtype=dtype, tf32=tf32).seconds == pytest.approx(1e12 / rate)


def test_a_problem_of_unknown_flops_and_bytes_has_no_roofline_and_learns_how_to_get_one():
    assert floor() == (
        "any says neither its FLOPs nor its bytes: give Problem(flops=..., bytes=...), what one call computes and must "
        "move"
    )


@pytest.mark.parametrize(
    ("dtype", "said"), [("int8", "there is no rate of int8 here (no such product)"), (None, "Problem(dtype=...)")]
)
def test_flops_of_a_type_without_a_rate_are_left_out_and_that_is_said(dtype, said):
    assert said in floor(flops=1e12, dtype=dtype)
    found = floor(flops=1e12, bytes=1e9, dtype=dtype)
    assert found.set_by == "bytes"
    assert said in found.left_out


def test_with_a_hot_cache_bytes_that_fit_it_come_from_there():
    assert floor("hot", bytes=16 * MIB).seconds == pytest.approx(16 * MIB / 5e12)
    assert floor("hot", bytes=16 * MIB).from_cache
    assert floor("cold", bytes=16 * MIB).seconds == pytest.approx(16 * MIB / 2.5e12)
    assert not floor("cold", bytes=16 * MIB).from_cache
    assert not floor("hot", bytes=4096 * MIB).from_cache


def test_a_small_copy_that_its_launch_slows_down_does_not_lower_what_the_cache_attains():
    assert GPU.moving(MIB, "hot").per_second == GPU.moving(4 * MIB, "hot").per_second == 5e12
    between = GPU.moving(24 * MIB, "hot").per_second
    assert 4e12 < between < 5e12


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "root", lambda: tmp_path)
    return tmp_path / "rates"


class Scripted(FakeDevice):
    """A device whose products and copies attain known rates, and that notes what is timed."""

    def __init__(self, name="fake", **more):
        self.name = name
        self.timed = []
        super().__init__(self._seconds, **more)

    def _seconds(self, arm):
        self.timed.append(arm)
        if arm.startswith("copy"):
            size = int(arm.split()[2])
            return size / (4e12 if size <= 32 * MIB else 2e12)
        rows, dtype = arm.removeprefix("product of ").split(" ", 1)
        rows = int(rows.split("x")[0])
        if dtype == "float8_e4m3fn":
            raise RuntimeError("no kernel\nfor this type")
        if dtype == "int8" and rows > 2048:
            return 1.0
        return 2 * rows**3 / {4096: 5e14, 8192: 4e14}.get(rows, 1e14) * (100 if dtype == "float64" else 1)

    def environment(self):
        return {"device": self.name}


def test_of_several_sizes_the_best_counts_and_slow_types_stay_with_small_ones():
    rates = measure.measured_rates(Scripted(), {"name": "fake"})
    assert rates.operations["float16"] == Rate(pytest.approx(5e14), 0.0, 4096)
    assert rates.operations["float64"].size == 2048
    assert rates.operations["int8"].size == 2048
    assert rates.refused == {"float8_e4m3fn": "no kernel"}
    assert [one.size // MIB for one in rates.copies] == [4, 8, 16, 32, 64, 128, 2048]
    assert rates.moving(16 * MIB, "hot").per_second == pytest.approx(4e12)
    assert rates.moving(16 * MIB, "cold").per_second == pytest.approx(2e12)


def test_types_in_which_nobody_computes_here_have_no_rate():
    slow = FakeDevice(lambda arm: 0.5 if arm.startswith("product") else 1e-3)
    rates = measure.measured_rates(slow, {"name": "fake"})
    assert rates.operations == {}
    assert rates.refused["float16"] == "product of 2048x2048 float16 takes 500 ms"
    assert rates.copies


@pytest.mark.parametrize("device", ["foo", "cuda:x", "fake", "host:1", ""])
def test_a_device_that_there_can_not_be_is_refused(capsys, device):
    with pytest.raises(SystemExit) as ended:
        cli.main(["roofline", "--device", device])
    assert ended.value.code == 2
    assert f"takes auto, cuda, cuda:N or host, not {device!r}" in capsys.readouterr().err


def test_rates_are_measured_once_and_again_when_asked_or_for_another_device(folder):
    device = Scripted()
    first = kept.rates_of(device)
    count = len(device.timed)
    assert kept.rates_of(device) == first
    assert len(device.timed) == count
    kept.rates_of(device, again=True)
    assert len(device.timed) > count
    other = Scripted("another")
    kept.rates_of(other)
    assert other.timed
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    "changed",
    [
        lambda content: {**content, "identity": {**content["identity"], "torch": "1.0"}},
        lambda content: {**content, "version": 0},
        lambda content: {**content, "copies": []},
        lambda content: {**content, "operations": {"float16": {"per_second": 0.0, "spread": 0.0, "size": 1}}},
        lambda content: {**content, "operations": {"float16": 1}},
        lambda content: [],
    ],
    ids=["of another PyTorch", "another layout", "no copy", "a rate of nothing", "damaged", "no object"],
)
def test_a_stale_foreign_or_damaged_file_is_measured_anew(folder, changed):
    rates = kept.rates_of(Scripted())
    path = kept.path_of(rates.identity)
    path.write_text(json.dumps(changed(json.loads(path.read_text()))))
    device = Scripted()
    kept.rates_of(device)
    assert device.timed
    path.write_text(path.read_text()[:50])
    assert kept.lookup(rates.identity) is None


def test_gpus_are_told_apart_by_all_that_decides_how_fast_they_are():
    gpu = {"name": "H100", "uuid": "GPU-1", "driver": "580", "power_limit_w": 700.0, "temperature_c": 40}
    one = kept.identity_of({"gpu": gpu})
    assert kept.identity_of({"gpu": {**gpu, "temperature_c": 60}}) == one
    for name, value in {"uuid": "GPU-2", "driver": "590", "power_limit_w": 350.0}.items():
        assert kept.identity_of({"gpu": {**gpu, name: value}}) != one


def test_a_cache_folder_that_can_not_be_written_to_costs_a_measurement_and_no_failure(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(kept, "root", lambda: tmp_path / "file")
    assert kept.rates_of(Scripted()).copies


def _busy(rounds):
    return {"foreign_cpu": 1.4, "steal": 0.0, "candidate_wait": 0.3, "reference_wait": 0.3}


@pytest.mark.parametrize(
    ("busy", "said"),
    [
        ({"evidence": _busy}, "other work took 1.4 of the machine's cores"),
        ({"machine": lambda rounds: Reading(foreign_processes=2)}, "2 other processes had the GPU open"),
    ],
    ids=["host", "gpu"],
)
def test_rates_that_other_work_may_have_lowered_are_not_kept(folder, busy, said):
    device = Scripted("disturbed", **busy)
    rates = kept.rates_of(device)
    assert said in rates.disturbed
    assert not folder.exists()
    count = len(device.timed)
    assert kept.rates_of(device, accept_disturbed=True) is rates
    assert len(device.timed) == count
    kept.rates_of(device)
    assert len(device.timed) > count


def test_rates_of_a_machine_that_is_hardly_used_by_others_are_kept(folder):
    busy = {**_busy(0), "candidate_wait": 0.01, "reference_wait": 0.01}
    assert kept.rates_of(Scripted(evidence=lambda rounds: busy)).disturbed == ""
    assert folder.exists()


TF32_SETTINGS = """
import torch
from pytest_kgate.bench.race.speed_of_light.tf32 import rounding_to_tf32, rounds_to_tf32

def demand_left_alone():
    for wanted in (False, True):
        with rounding_to_tf32(wanted):
            assert rounds_to_tf32() is wanted
    assert rounds_to_tf32()

torch.set_float32_matmul_precision("high")
demand_left_alone()
assert torch.get_float32_matmul_precision() == "high"
torch.set_float32_matmul_precision("highest")
if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    demand_left_alone()
"""


def test_pytorch_s_setting_for_tf32_is_what_it_was_and_its_newer_form_is_known():
    subprocess.run([sys.executable, "-c", TF32_SETTINGS], check=True)  # it would break the older form for other tests


def test_the_host_is_measured_by_pytorch_on_all_its_threads(monkeypatch):
    small = replace(measure._HOST, rows=(32,), copies=(2**14, 2**16), rounds=1)
    monkeypatch.setattr(measure, "_HOST", small)
    said = []
    rates = measure.measured_rates(HostDevice(), kept.identity_of(HostDevice().environment()), said.append)
    assert {"float32", "float64", "bfloat16"} <= set(rates.operations)
    assert TF32 not in rates.operations
    assert all(rate.per_second > 0 for rate in [*rates.operations.values(), *rates.copies])
    assert said[-1] == "copies"
    text = "\n".join(lines_of(rates))
    assert "float32" in text
    assert "copy, memory" in text
