"""A lock file: what it holds, what a session that differs from it says, and when its gates are INVALID."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sample_suite import fake_device

from pytest_kgate import cli
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.lock import file
from pytest_kgate.evaluation.lock.versions import differences
from pytest_kgate.evaluation.lock.versions import versions_of
from pytest_kgate.evaluation.options.options import Options

SUITE = """
import pytest
import torch
from pytest_kgate import Problem

RELU = Problem("relu", lambda g: (torch.randn(64, generator=g),), torch.relu, lambda x: torch.relu(x.double()))

@pytest.mark.speedup(0.95)
def test_relu(kbench):
    kbench(torch.relu, RELU)
"""


def test_lock_of_a_gpu_has_its_driver_cuda_and_name() -> None:
    class Gpu(HostDevice):
        def environment(self):
            gpu = {"name": "NVIDIA H100", "driver": "580.95", "power_limit_w": 700.0}
            return {"device": "cuda", "cuda_runtime": "13.0", "cudnn": 91200, "gpu": gpu}

    here = versions_of(Gpu(), Options(timer="graph"), {"NVCC_APPEND_FLAGS": "-lineinfo"})
    wanted = {"gpu": "NVIDIA H100", "driver": "580.95", "cuda": "13.0", "cudnn": "91200", "option timer": "graph"}
    assert wanted.items() <= here.items()
    assert here["environment NVCC_APPEND_FLAGS"] == "-lineinfo"
    assert "package torch" in here


def test_all_three_kinds_of_difference_are_told() -> None:
    found = differences({"driver": "570", "same": "1", "nvcc": "13.0"}, {"driver": "580", "same": "1", "cpu": "x"})
    assert found == [
        "driver is 580, locked 570",
        "nvcc is not there, locked 13.0",
        "cpu is x, locked without it",
    ]


def test_lock_of_an_unchanged_machine_differs_in_nothing(tmp_path: Path) -> None:
    here = versions_of(HostDevice(), Options())
    file.save(tmp_path / "kgate.lock", here)
    assert differences(file.load(tmp_path / "kgate.lock"), versions_of(HostDevice(), Options())) == []


def test_locking_again_says_what_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["lock", "--device", "host"]) == 0
    assert "changed" not in capsys.readouterr().out
    assert cli.main(["lock", "--device", "host", "--kgate-timer", "wall"]) == 0
    assert "changed: option timer is wall, locked auto" in capsys.readouterr().out


def test_file_whose_entries_are_no_versions_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kgate.lock"
    path.write_text(json.dumps({"schema": "pytest-kgate/lock", "version": 1, "locked": {"driver": 580}}))
    with pytest.raises(UsageError, match="holds no lock"):
        file.load(path)


def test_file_that_is_no_lock_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "notes.json"
    path.write_text("[1, 2]")
    assert cli.main(["lock", "--device", "host", str(path)]) == 2
    assert "holds no lock" in capsys.readouterr().err
    assert path.read_text() == "[1, 2]"


def locked(pytester: pytest.Pytester, **changed: str) -> None:
    """A lock of what the session below will be, but for what is given."""
    pytester.makeconftest(fake_device())
    pytester.makepyfile(SUITE)
    here = versions_of(FakeDevice(lambda *_: 1.0), Options())
    file.save(pytester.path / "kgate.lock", {**here, **changed})


def run(pytester: pytest.Pytester, *more: str) -> tuple[pytest.RunResult, dict]:
    """The session, with what the test suite itself sets taken as it is, and its record."""
    arguments = ("--kgate-json=it.json", "--kgate-foreign-load=invalid", "--kgate-clean=auto")
    result = pytester.runpytest_inprocess("--kgate-locked=kgate.lock", *arguments, *more)
    return result, json.loads((pytester.path / "it.json").read_text())["records"][0]


def test_session_that_differs_is_warned_and_judged(pytester: pytest.Pytester) -> None:
    locked(pytester, **{"package torch": "1.0"})
    result, record = run(pytester)
    result.assert_outcomes(passed=1)
    (told,) = (one for one in record["warnings"] if "differs" in one)
    assert told.startswith("this session differs from kgate.lock: package torch is ")
    assert told.endswith("locked 1.0")
    assert ";" not in told  # nothing else differs


def test_session_that_differs_is_invalid_on_demand(pytester: pytest.Pytester) -> None:
    locked(pytester, **{"package torch": "1.0"})
    result, record = run(pytester, "--kgate-locked-strict")
    result.assert_outcomes(failed=1)
    assert record["verdict"] == "INVALID"
    assert "package torch is " in record["reason"]
    assert "lock anew" in record["reason"]
    assert not [one for one in record["warnings"] if "differs" in one]


def test_session_as_locked_passes_also_when_strict(pytester: pytest.Pytester) -> None:
    locked(pytester)
    result, record = run(pytester, "--kgate-locked-strict")
    result.assert_outcomes(passed=1)
    assert not [one for one in record["warnings"] if "differs" in one]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kgate-locked=none.lock"], "none.lock can't be read"),
        (["--kgate-locked-strict"], "does nothing without --kgate-locked"),
    ],
)
def test_missing_lock_ends_the_session_at_its_start(pytester: pytest.Pytester, arguments: list[str], said: str) -> None:
    result = pytester.runpytest_inprocess(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{said}*"])
