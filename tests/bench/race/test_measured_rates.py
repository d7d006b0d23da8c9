"""What a device attains: how it is measured, what is kept of it, and when it is measured anew."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from dataclasses import replace

import numpy as np
import pytest

from pytest_kgate import cli
from pytest_kgate.bench.race.speed_of_light import kept
from pytest_kgate.bench.race.speed_of_light import measure
from pytest_kgate.bench.race.speed_of_light.command import lines_of
from pytest_kgate.bench.race.speed_of_light.rates import TF32
from pytest_kgate.bench.race.speed_of_light.rates import Rate
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.host import HostDevice
from pytest_kgate.device.protocol import Reading
from pytest_kgate.errors import TimingError
from pytest_kgate.integrity.roofline import Peaks

MIB = 2**20


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
        if not arm.startswith("product"):
            size = int(arm.split()[2])
            return size / (4e12 if size <= 32 * MIB else 2e12) * (1 if arm.startswith("negation") else 1.5)
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
    assert [one.size // MIB for one in rates.copies] == [4, 16, 32, 64, 128, 512, 2048]
    assert rates.moving(16 * MIB, "hot").per_second == pytest.approx(4e12)
    assert rates.moving(16 * MIB, "cold").per_second == pytest.approx(2e12)


@dataclass(frozen=True)
class OddRounds:
    """Rounds that read half of what calls take, whole rounds of them."""

    odd: tuple[int, ...]

    def draw(self, rng, rounds, slots):
        noise = np.zeros((1, rounds, slots))
        noise[:, self.odd] = np.log(0.5)
        return noise


def test_rounds_in_which_the_clock_still_rises_and_single_odd_ones_make_no_rate():
    rates = measure.measured_rates(Scripted(noise=OddRounds((0, 3))), {"name": "fake"})
    assert rates.operations["float16"].per_second == pytest.approx(5e14)
    assert rates.copies[0].per_second == pytest.approx(4e12)


def test_rounds_that_disagree_are_taken_again():
    rates = measure.measured_rates(Scripted(noise=OddRounds((1, 2, 3))), {"name": "fake"})
    assert rates.operations["float16"].per_second == pytest.approx(5e14)
    assert rates.operations["float16"].spread < 0.1


def test_rates_that_no_such_device_can_have_are_refused(monkeypatch):
    monkeypatch.setattr(measure, "peaks_of", lambda device: Peaks(4.5e14, 1e15, 1e15))
    rates = measure.measured_rates(Scripted(), {"name": "fake"})
    assert rates.operations["float16"].size == 2048
    monkeypatch.setattr(measure, "peaks_of", lambda device: Peaks(1e13, 1e15, 1e15))
    assert "which can't be" in measure.measured_rates(Scripted(), {"name": "fake"}).refused["float16"]
    monkeypatch.setattr(measure, "peaks_of", lambda device: Peaks(1e15, 3e12, 1e15))
    assert min(one.size for one in measure.measured_rates(Scripted(), {"name": "fake"}).copies) == 64 * MIB
    monkeypatch.setattr(measure, "peaks_of", lambda device: Peaks(1e15, 1e15, 1e12))
    with pytest.raises(TimingError, match=r"copy of 2147483648 bytes reads 1\.61 ms, which"):
        measure.measured_rates(Scripted(), {"name": "fake"})


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
    assert said in kept.rates_of(device).disturbed
    assert not folder.exists()
    rates = kept.rates_of(device, accept_disturbed=True)
    assert said in rates.disturbed
    count = len(device.timed)
    assert kept.rates_of(device, accept_disturbed=True) is rates
    assert len(device.timed) == count
    kept.rates_of(device)
    assert len(device.timed) > count


def test_who_accepts_no_rates_of_a_busy_machine_does_not_wait_for_all_of_them(folder):
    device = Scripted("busy", evidence=_busy)
    assert kept.rates_of(device).operations == {}
    assert kept.rates_of(device, accept_disturbed=True, again=True).operations


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
    assert said[0] == "copies"
    text = "\n".join(lines_of(rates))
    assert "float32" in text
    assert "copy, memory" in text


def test_rates_are_shown_where_their_file_can_not_be_written(folder, monkeypatch, capsys):
    monkeypatch.setattr(measure, "_HOST", replace(measure._HOST, rows=(32,), copies=(2**14,), rounds=1))
    assert cli.main(["roofline", "--device", "host", "--json", str(folder.parent)]) == 2
    said = capsys.readouterr()
    assert "copy, memory" in said.out
    assert f"{folder.parent} can't be written" in said.err
