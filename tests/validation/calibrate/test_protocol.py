"""The whole protocol on the fake device, run as users run it: processes, file, tables, exit status."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from pytest_kgate.validation.calibrate.file import Calibrations
from pytest_kgate.validation.calibrate.tables.show import calibration_markdown

QUICK = ("--processes", 2, "--gates", 40, "--truth-gates", 15)


@pytest.fixture
def kgate(warm_program, tmp_path):
    def run(*arguments, **options):
        return subprocess.run(
            command(warm_program, *arguments),
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=120,
            **options,
        )

    return run


def command(program, *arguments):
    return [program, "-m", "pytest_kgate.cli", "calibrate", "--width", "100", *map(str, arguments)]


def environment(tmp_path):
    return {**os.environ, "KGATE_CACHE_DIR": str(tmp_path / "cache")}


@pytest.fixture(scope="module")
def calibrated(warm_program, tmp_path_factory):
    """A file of a whole protocol, and what the command said."""
    folder = tmp_path_factory.mktemp("calibrated")
    file = folder / "fake.json"
    run = subprocess.run(
        command(warm_program, "--device", "fake", *QUICK, "--json", file),
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=120,
    )
    return file, run


def test_quiet_device_is_accepted(calibrated):
    file, run = calibrated
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1].startswith("ACCEPTED")
    content = Calibrations.load(file)
    assert (len(content.processes), len(content.gates)) == (2, 110)
    assert len({gate["seed"] for gate in content.gates}) == 110
    assert "110 of 110 gates" in run.stderr


def test_tables_show_rates_truth_and_p_values_within_the_width(calibrated):
    _, run = calibrated
    lines = run.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    header = next(line for line in lines if line.startswith("equal kernels"))
    assert header.split("  ")[0] == "equal kernels"
    assert {"gates", "PASS", "FAIL", "latency", "ratio", "resolved"} <= set(header.split())
    assert any(line.startswith("spin-10us ") and " 10.0 us " in line for line in lines)
    assert any(line.startswith("all ") and " 80 " in line for line in lines)
    assert any(line.startswith("spin-2us-0.955 ") and " 0.9550 " in line for line in lines)
    assert any(line.startswith("0.9 to 1.0 ") for line in lines)
    assert any("passes of kernels that must fail: 0 of 12" in line for line in lines)


def test_result_is_kept_for_the_gates_of_later_sessions(calibrated, monkeypatch):
    from pytest_kgate.bench.race.calibration.device_calibration import lookup
    from pytest_kgate.bench.race.calibration.device_calibration import resolved_effect

    file, _ = calibrated
    monkeypatch.setenv("KGATE_CACHE_DIR", str(file.parent / "cache"))
    found = lookup({"device": "fake"}, "fake", "hot")
    assert found is not None
    assert (found.gates, found.accepted) == (80, True)
    effect = resolved_effect(found, 10e-6)
    assert effect is not None
    assert 0.0005 < effect < 0.01


def test_same_command_again_runs_nothing_and_shows_the_same(calibrated, kgate):
    file, first = calibrated
    before = file.read_bytes()
    again = kgate("--device", "fake", *QUICK, "--json", file)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert file.read_bytes() == before
    assert kgate("--show", "--json", file).stdout == first.stdout


def test_tables_go_into_a_page(calibrated, kgate, tmp_path):
    file, _ = calibrated
    page = tmp_path / "page.md"
    page.write_text("# A\n<!-- kgate:rates -->\nold\n<!-- /kgate -->\nrest\n")
    run = kgate("--json", file, "--into", page, "--block", "rates")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    content = page.read_text()
    assert "| equal kernels | gates |" in content
    assert "| spin-2us-0.955 | 0.9550 |" in content
    assert calibration_markdown(file).strip() in content
    assert content.endswith("<!-- /kgate -->\nrest\n")


def test_device_with_offsets_that_last_a_race_is_not_accepted(kgate):
    run = kgate("--device", "fake:race-offset", "--processes", 1, "--gates", 20, "--truth-gates", 0)
    assert run.returncode == 1
    assert "accepted  NO  false PASS of equal kernels" in run.stdout
    assert run.stdout.splitlines()[-1].startswith("NOT ACCEPTED")


def test_run_that_is_cut_short_goes_on_later(kgate, tmp_path):
    file = tmp_path / "a.json"
    first = kgate("--device", "fake", "--gates", 5, "--processes", 1, "--cases", "aa", "--json", file)
    assert first.returncode == 0, first.stderr
    before = Calibrations.load(file).gates
    assert len(before) == 5
    more = kgate("--device", "fake", "--gates", 5, "--processes", 2, "--cases", "aa", "--json", file)
    assert more.returncode == 0, more.stderr
    after = Calibrations.load(file)
    assert after.gates[:5] == before
    assert [process["process"] for process in after.processes] == [0, 1]
    assert sorted(gate["case"] for gate in after.gates[5:]) == sorted(gate["case"] for gate in before)


def test_time_limit_ends_between_gates_and_nothing_is_lost(kgate, tmp_path):
    file = tmp_path / "a.json"
    run = kgate("--device", "fake", "--full", "--seconds", 2, "--json", file)
    assert run.returncode in (0, 1)
    assert 0 < len(Calibrations.load(file).gates) < 1000


def test_killed_run_leaves_a_file_that_can_be_read_and_continued(warm_program, tmp_path):
    file = tmp_path / "a.json"
    arguments = ("--device", "fake", "--processes", 1, "--gates", 400, "--cases", "aa", "--json", file)
    started = command(warm_program, *arguments)
    found = _killed_beyond(2, file, started, tmp_path)
    assert found < 400
    assert _killed_beyond(found, file, started, tmp_path) > found


def _killed_beyond(gates: int, file: Path, started: list[str], folder: Path) -> int:
    """How many gates the file holds once the command was killed, which it is when there are more than so many."""
    with subprocess.Popen(
        started, env=environment(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as parent:
        deadline = time.monotonic() + 60
        while _gates(file) <= gates and time.monotonic() < deadline:
            time.sleep(0.02)
        parent.kill()
    return _gates(file)


def _gates(file: Path) -> int:
    return len(json.loads(file.read_text())["gates"]) if file.exists() else 0


def test_other_recipes_lie_where_ours_does_not(kgate):
    run = kgate("--device", "fake", "--compare", "--processes", 1, "--gates", 30)
    assert run.returncode == 0, run.stderr
    rows = {tuple(line.split()[:2]): line for line in run.stdout.splitlines() if line}
    assert "10 (100 %)" in rows["same-kernel-behind-graph", "usual"]
    assert "0 (0 %)" in rows["same-kernel-behind-graph", "kgate"]
    assert "usual: 100 eager samples" in run.stdout


@pytest.mark.skipif(bool(importlib.util.find_spec("matplotlib")), reason="matplotlib is there")
def test_plot_without_matplotlib_is_refused_before_anything_is_run(kgate, tmp_path):
    run = kgate("--device", "fake", "--plot", tmp_path / "p.png", "--json", tmp_path / "a.json")
    assert run.returncode == 2
    assert "pip install 'pytest-kgate[report]'" in run.stderr
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--quick", "--full"), "--quick and --full exclude each other."),
        (("--device", "fake:pink"), "The fake device has no noise 'pink'."),
        (("--device", "tpu"), "There is no device 'tpu'."),
        (("--device", "fake", "--cases", "bb"), "There is no calibration case 'bb' on this device."),
        (("--show",), "There is no file to show."),
        (("--json", "gone.json", "--show"), "There is no file gone.json."),
        (("--json", "x", "--into", "y"), "--into and --block belong together."),
    ],
)
def test_mistakes_get_two_lines_and_status_2(kgate, arguments, message):
    run = kgate(*arguments)
    assert run.returncode == 2, run.stdout
    what, todo = run.stderr.splitlines()
    assert what == f"kgate: {message}"
    assert todo


def test_parts_from_several_machines_make_one_file(kgate, tmp_path):
    """Each part ran beside the others, with a seed of its own."""
    parts = [tmp_path / "1.json", tmp_path / "2.json"]
    for seed, part in enumerate(parts):
        kgate("--device", "fake", "--processes", 1, "--gates", 7, "--truth-gates", 0, "--seed", seed, "--json", part)
    whole = tmp_path / "whole.json"
    run = kgate("--json", whole, "--gather", *parts)
    content = Calibrations.load(whole)
    assert [process["process"] for process in content.processes] == [0, 1]
    assert len(content.gates) == 14, run.stderr
    assert len({gate["seed"] for gate in content.gates}) == 14
    assert "14" in run.stdout
    again = kgate("--json", tmp_path / "again.json", "--gather", parts[0], parts[0])
    assert again.returncode == 2
    assert "Give each part a --seed of its own." in again.stderr


def test_gates_timed_in_another_way_are_not_mixed_in(calibrated, kgate):
    file, _ = calibrated
    run = kgate("--device", "fake", "--cache", "cold", "--json", file)
    assert run.returncode == 2
    assert "have cache hot, not cold" in run.stderr


def test_file_of_something_else_is_left_alone(kgate, tmp_path):
    other = tmp_path / "records.json"
    other.write_text('{"schema": "pytest-kgate/records"}')
    run = kgate("--device", "fake", "--json", other)
    assert run.returncode == 2
    assert "holds the records of a session, and no calibration" in run.stderr
    assert other.read_text() == '{"schema": "pytest-kgate/records"}'
