"""`kgate system show` on machines of every kind: what makes one unfit, what only costs, and what each costs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_kgate import cli
from pytest_kgate.device.cuda.nvml import state
from pytest_kgate.device.cuda.nvml.settings import GpuSettings
from pytest_kgate.device.cuda.nvml.settings import gpu_settings
from pytest_kgate.device.protocol import Reading
from pytest_kgate.system.cpu_load import CpuTimes
from pytest_kgate.validation.machine import of_host
from pytest_kgate.validation.machine import of_tools
from pytest_kgate.validation.machine import show
from pytest_kgate.validation.machine.finding import Finding
from pytest_kgate.validation.machine.of_gpu import of_gpu
from pytest_kgate.validation.machine.of_gpu import of_versions

GOOD: GpuSettings = {
    "persistence": True,
    "mig": False,
    "ecc": True,
    "uncorrected_errors": 0,
    "compute_mode": 0,
    "power_limit_w": 700.0,
    "power_default_w": 700.0,
    "clock_reasons": 0x02,
    "cuda_of_driver": (13, 0),
}
QUIET = Reading(throttle=0x01, temperature_c=30.0, foreign_processes=0)


class NVMLError(Exception):
    pass


class StandInNvml(SimpleNamespace):
    """In place of `pynvml`: an H100 as its driver tells of it, without MIG's calls, which older cards refuse."""

    NVMLError = NVMLError
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED = NVML_VOLATILE_ECC = 1

    def __getattr__(self, name: str) -> Any:
        answers = {
            "nvmlInit": None,
            "nvmlDeviceGetHandleByUUID": "handle",
            "nvmlDeviceGetPersistenceMode": 0,
            "nvmlDeviceGetEccMode": [1, 1],
            "nvmlDeviceGetTotalEccErrors": 0,
            "nvmlDeviceGetComputeMode": 0,
            "nvmlDeviceGetEnforcedPowerLimit": 650_000,
            "nvmlDeviceGetPowerManagementDefaultLimit": 700_000,
            "nvmlDeviceGetCurrentClocksEventReasons": 1,
            "nvmlSystemGetCudaDriverVersion": 12080,
        }

        def answer(*_: Any) -> Any:
            if name not in answers:
                raise NVMLError("Not Supported")
            return answers[name]

        return answer


def levels(findings: list[Finding]) -> dict[str, str]:
    return {one.about: one.level for one in findings}


def test_settings_are_read_and_what_the_driver_refuses_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    state.handle_of.cache_clear()
    monkeypatch.setitem(sys.modules, "pynvml", StandInNvml())
    read = gpu_settings("GPU-1")
    state.handle_of.cache_clear()
    assert read is not None
    assert "mig" not in read
    assert read["cuda_of_driver"] == (12, 8)
    assert read["power_limit_w"] == 650
    found = levels(of_gpu(read, QUIET, "GPU-1"))
    assert found == {
        "other processes": "ok",
        "throttling": "ok",
        "ECC": "ok",
        "clocks": "costs",
        "power limit": "costs",
        "persistence": "costs",
    }


def test_without_nvidia_ml_py_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_settings("GPU-1") is None


def test_gpu_as_it_should_be_costs_nothing() -> None:
    assert set(levels(of_gpu(GOOD, QUIET, "GPU-1")).values()) == {"ok"}


@pytest.mark.parametrize(
    ("settings", "reading", "uuid", "about", "level"),
    [
        ({}, Reading(foreign_processes=2), "GPU-1", "other processes", "unfit"),
        ({}, Reading(throttle=0x40), "GPU-1", "throttling", "unfit"),
        ({}, Reading(throttle=0x04), "GPU-1", "throttling", "costs"),
        ({"compute_mode": 2}, QUIET, "GPU-1", "compute mode", "unfit"),
        ({"compute_mode": 3}, QUIET, "GPU-1", "compute mode", "costs"),
        ({"uncorrected_errors": 3}, QUIET, "GPU-1", "ECC", "unfit"),
        ({"ecc": False}, QUIET, "GPU-1", "ECC", "costs"),
        ({"clock_reasons": 0x01}, QUIET, "GPU-1", "clocks", "costs"),
        ({"power_limit_w": 350.0}, QUIET, "GPU-1", "power limit", "costs"),
        ({"persistence": False}, QUIET, "GPU-1", "persistence", "costs"),
        ({"mig": True}, QUIET, "MIG-1", "MIG", "costs"),
    ],
)
def test_each_fault_of_a_gpu_is_told_with_its_cost(
    settings: dict[str, Any], reading: Reading, uuid: str, about: str, level: str
) -> None:
    findings = of_gpu({**GOOD, **settings}, reading, uuid)  # type: ignore[typeddict-item]
    (told,) = (one for one in findings if one.level != "ok")
    assert (told.about, told.level) == (about, level)
    assert told.cost


@pytest.mark.parametrize(
    ("torch_cuda", "nvcc", "level"),
    [
        ("13.0", (13, 0, 88), "ok"),
        ("12.8", (), "ok"),
        ("13.1", (13, 0, 88), "costs"),
        ("12.8", (14, 0, 1), "costs"),
        ("14.0", (), "unfit"),
    ],
)
def test_old_driver_is_told(torch_cuda: str, nvcc: tuple[int, ...], level: str) -> None:
    assert levels(of_versions(GOOD, torch_cuda, nvcc)) == {"driver": level}


def readings(foreign: float, steal: float = 0.0) -> tuple[CpuTimes, CpuTimes]:
    return CpuTimes(0.0, 0.0, 0.0, 0.0), CpuTimes(1.0, foreign, steal, 0.0)


@pytest.mark.parametrize(
    ("foreign", "steal", "kind", "level"),
    [
        (0.05, 0.0, "host", "ok"),
        (0.5, 0.0, "host", "unfit"),
        (0.0, 0.3, "host", "unfit"),
        (0.5, 0.0, "cuda", "costs"),
        (3.5, 0.0, "cuda", "unfit"),
    ],
)
def test_other_work_is_unfit_where_it_takes_cores_that_arms_need(
    foreign: float, steal: float, kind: str, level: str
) -> None:
    assert of_host.load(*readings(foreign, steal), kind, cores=4, threads=4).level == level


@pytest.mark.parametrize(
    ("file", "text", "level"),
    [
        ("cpu.max", "max 100000", "ok"),
        ("cpu.max", "200000 100000", "unfit"),
        ("cpu.max", "400000 100000", "ok"),
        ("none", "", "ok"),
    ],
)
def test_cpu_quota_of_a_container_is_found(tmp_path: Path, file: str, text: str, level: str) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/job/step\n")
    group = tmp_path / "sys/fs/cgroup/job"
    (group / "step").mkdir(parents=True)
    (group / file).write_text(text)
    assert of_host.quota("host", cores=4, threads=4, root=tmp_path).level == level


def test_governor_is_told_where_the_system_tells(tmp_path: Path) -> None:
    assert of_host.governor("host", tmp_path) == []
    for number, name in enumerate(("performance", "powersave")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{number}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{name}\n")
        (found,) = of_host.governor("host", tmp_path)
        assert found.level == ("ok" if number == 0 else "costs")


def test_missing_tools_and_privilege_cost_and_make_no_machine_unfit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(of_tools, "find_program", lambda name: None)
    monkeypatch.setattr(of_tools, "denied", lambda: "Only administrators may. Ask one.")
    found = of_tools.of_tools("cuda")
    told = {one.about: one for one in found if one.level == "costs"}
    assert {"C++ compiler", "ncu", "compute-sanitizer", "counters"} <= set(told)
    assert "unfit" not in levels(found).values()
    assert (told["counters"].found, told["counters"].todo) == ("Only administrators may", "Ask one.")


@pytest.mark.parametrize(
    ("level", "status", "end"),
    [("unfit", 2, "not fit for gates: x"), ("costs", 0, "fit for gates; 1 finding at a cost")],
)
def test_status_and_last_line_say_whether_the_machine_is_fit(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    level: Any,
    status: int,
    end: str,
) -> None:
    monkeypatch.setattr(show, "of_host", lambda *_: [Finding("x", level, "is so", "it costs", "Do it.")])
    monkeypatch.setattr(show, "of_tools", lambda kind: [])
    assert cli.main(["system", "show", "--device", "host", "--json", str(tmp_path / "it.json")]) == status
    printed = capsys.readouterr().out
    assert end in printed
    assert "cost: it costs" in printed
    kept = json.loads((tmp_path / "it.json").read_text())
    assert kept["fit"] == (status == 0)
    assert kept["findings"] == [{"about": "x", "level": level, "found": "is so", "cost": "it costs", "todo": "Do it."}]


def test_gpu_that_pytorch_does_not_use_is_unfit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "0000:01:00.0").mkdir()
    monkeypatch.setattr(show, "_GPUS", tmp_path)
    monkeypatch.setattr(show, "of_host", lambda *_: [])
    monkeypatch.setattr(show, "of_tools", lambda kind: [])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert levels(show.look("auto")[1]) == {"GPU": "unfit"}
    assert show.look("host")[1] == []


@pytest.mark.gpu
def test_this_gpu_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["system", "show", "--device", "cuda", "--json", "-"]) in (0, 2)
    told = {one["about"] for one in json.loads(capsys.readouterr().out)["findings"]}
    assert {"clocks", "persistence", "ECC", "other processes", "driver", "nvcc", "CPU load"} <= told


@pytest.mark.parametrize("width", [80, 100])
def test_no_finding_is_wider_than_the_terminal(width: int) -> None:
    before = CpuTimes(wall=0.0, foreign=0.0, steal=0.0, pressure=0.0)
    busy = of_host.load(before, CpuTimes(wall=1.0, foreign=1.2, steal=0.37, pressure=0.0), "host", 2, 2)
    lines = show.lines_of("a machine", [busy, Finding("C++ compiler", "ok", "c++ 12.2.0")], width)
    assert "37 % of a core by other virtual machines" in " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= width
