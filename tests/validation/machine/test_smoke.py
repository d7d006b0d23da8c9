"""`kgate smoke`: it says OK of what works, what is wrong of what does not, and knows a gate that lets anything pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sample_records import session

from pytest_kgate import cli
from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import ToolchainMissing
from pytest_kgate.validation.machine import smoke
from pytest_kgate.validation.machine.smoke import held_to
from pytest_kgate.validation.machine.smoke import step

STEPS = ["build", "a right answer", "a wrong answer", "a kernel and itself", "half the work"]


@pytest.fixture(autouse=True)
def own_locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is timed here that is to be believed, so that none waits for other sessions."""
    monkeypatch.setenv("KGATE_LOCK_DIR", str(tmp_path))


def verdicts(monkeypatch: pytest.MonkeyPatch, *given: str) -> None:
    """Calls end with these verdicts, one after the other; nothing is run."""
    left = iter(given)
    sample = session()[0]
    monkeypatch.setattr(smoke, "_call", lambda *_, **__: {**sample, "verdict": next(left), "reason": "So it is."})
    monkeypatch.setattr(smoke, "_build", lambda device, made: (made.append(len) or True, "kernel host"))


def test_every_step_has_its_line_and_all_right_ends_with_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # a step a line
    verdicts(monkeypatch, "PASS", "WRONG", "FAIL", "PASS")
    assert cli.main(["smoke", "--device", "host"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["OK"] * 5
    assert all(name in line for name, line in zip(STEPS, lines, strict=False))


@pytest.mark.parametrize(
    "given",
    [
        ("WRONG", "WRONG", "FAIL", "PASS"),
        ("PASS", "PASS", "FAIL", "PASS"),
        ("PASS", "WRONG", "PASS", "PASS"),
        ("PASS", "WRONG", "INCONCLUSIVE", "PASS"),
        ("PASS", "WRONG", "FAIL", "INVALID"),
    ],
    ids=["right-found-wrong", "wrong-let-pass", "itself-passes", "itself-undecided", "win-not-seen"],
)
def test_a_single_wrong_verdict_is_told_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    verdicts(monkeypatch, *given)
    assert cli.main(["smoke", "--device", "host"]) == 1
    lines = capsys.readouterr().out.splitlines()
    (told,) = (line for line in lines if line.startswith("WRONG"))
    assert "and must be" in told
    assert "So it is" in told


def test_without_a_compiler_the_other_steps_are_still_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts(monkeypatch, "FAIL", "PASS")

    def missing(*_: Any) -> tuple[bool, str]:
        raise ToolchainMissing("There is no compiler.", "Install one.")

    monkeypatch.setattr(smoke, "_build", missing)
    taken = list(smoke.steps(HostDevice()))
    assert [(one.name, one.fine) for one in taken] == [
        ("build", False),
        ("a kernel and itself", True),
        ("half the work", True),
    ]
    assert taken[0].told == "There is no compiler. Install one."


def test_a_race_is_told_with_its_ratio() -> None:
    record = next(one for one in session() if one["verdict"] == "PASS")
    fine, told = held_to("PASS", record)
    assert fine
    assert "ratio 0." in told


def test_kernel_off_in_one_element_is_wrong_and_a_right_one_is_not(one_thread: None) -> None:
    kernel = load_kernel("host")
    assert smoke._checked(HostDevice(), kernel)["verdict"] == "PASS"
    assert smoke._checked(HostDevice(), smoke._off(kernel))["verdict"] == "WRONG"


def test_half_the_work_passes_and_itself_does_not() -> None:
    won = smoke._raced(HostDevice(), times=2)
    assert won["verdict"] in ("PASS", "INVALID"), won["reason"]  # other work on this machine may spoil it
    assert smoke._raced(HostDevice(), times=1)["verdict"] != "PASS"


def test_step_says_how_long_it_took() -> None:
    assert step("x", lambda: (True, "it works")).seconds >= 0


@pytest.mark.gpu
def test_this_gpu_is_smoked(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["smoke", "--device", "cuda"]) == 0, capsys.readouterr().out
