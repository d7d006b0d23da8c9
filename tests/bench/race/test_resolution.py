"""What gates make of a calibration: a warning where a bound is too tight, and its date in the summary."""

from __future__ import annotations

import dataclasses

import pytest
import torch  # pytester forgets what its sessions import, and torch can't be imported twice
from sample_suite import RELU
from sample_suite import fake_device

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.bench.race.calibration import resolution
from pytest_kgate.bench.race.calibration.device_calibration import Calibration
from pytest_kgate.bench.race.calibration.device_calibration import save
from pytest_kgate.report.record.document import load
from pytest_kgate.statistics.gates import SpeedGate

FOUND = Calibration(
    identity="fake",
    timer="fake",
    cache="hot",
    date="2026-11-20T12:00:00+00:00",
    budget_seconds=10.0,
    gates=1000,
    false_passes=20,
    false_fails=19,
    accepted=True,
    noise_floor={},
    resolved=((10e-6, 0.002),),
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KGATE_CACHE_DIR", str(tmp_path / "cache"))


class Watch:
    """As much of a stopwatch as is looked at."""

    timer = "fake"
    cache = "hot"
    reference_seconds = 10e-6


def warned(*bounds, watch=None):
    gates = [SpeedGate(bound) for bound in bounds]
    return resolution.too_tight({"device": "fake"}, watch or Watch(), gates)


def test_bound_closer_to_1_than_the_resolved_effect_is_too_tight_on_either_side():
    save(FOUND)
    assert warned(0.95, 0.997, 1.003, 1.1) == []
    (below,) = warned(0.999)
    assert below.startswith("the bound 0.999 is 0.10 % from equally fast, and the calibration of 2026-11-20 found")
    assert "a kernel of 10.0 us resolves 0.20 % within 10 s" in below
    assert len(warned(1.001)) == 1


def test_bound_of_1_claims_no_size():
    save(FOUND)
    assert warned(1.0) == []


def test_two_gates_with_one_bound_warn_once():
    save(FOUND)
    assert len(warned(0.999, 0.999)) == 1


def test_without_calibration_nothing_is_known_of_a_bound():
    assert warned(0.9999) == []


def test_bound_is_judged_at_the_reference_s_latency():
    save(dataclasses.replace(FOUND, resolved=((10e-6, 0.01), (1e-3, 0.0001))))
    watch = Watch()
    assert len(warned(0.999, watch=watch)) == 1
    watch.reference_seconds = 1e-3
    assert warned(0.999, watch=watch) == []


def test_command_calibrates_just_what_is_missing():
    gpu = {"device": "cuda", "gpu": {"name": "NVIDIA H200", "uuid": "GPU-1", "driver": "580"}}
    record = {"gates": [{}], "timing": {"timer": "queue", "cache": "cold"}, "environment": gpu}
    host = {"gates": [{}], "timing": {"timer": "wall", "cache": "hot"}, "environment": {"device": "host", "cpu": {}}}
    lines = resolution.summary([record, record, host])
    assert len(lines) == 2
    assert "NVIDIA H200, queue timer, cold cache: none; `kgate calibrate --timer queue --cache cold`" in lines[0]
    assert "`kgate calibrate --device host`" in lines[1]


def test_calibration_that_was_not_passed_says_so():
    save(dataclasses.replace(FOUND, accepted=False, false_passes=50))
    record = {"gates": [{}], "timing": {"timer": "fake", "cache": "hot"}, "environment": {"device": "fake"}}
    (line,) = resolution.summary([record])
    assert "fake, fake timer, hot cache: 2026-11-20, not passed, 50 false passes" in line


# ---- as a user sees it

TEST = (
    RELU
    + """
MARKER
def test_gate(kbench):
    kbench(torch.relu, RELU)
"""
)


@pytest.fixture
def session(pytester):
    def run(marker="@pytest.mark.speedup(0.95)"):
        pytester.makeconftest(fake_device())
        pytester.makepyfile(TEST.replace("MARKER", marker))
        result = pytester.runpytest_inprocess("--kgate-json=records.json")
        result.assert_outcomes(passed=1)
        (record,) = load(pytester.path / "records.json")
        return record, result.stdout

    return run


def test_summary_says_how_to_calibrate_a_device_that_never_was(session):
    _, shown = session()
    shown.fnmatch_lines(["calibration of fake, fake timer, hot cache: none; `kgate calibrate --device fake` measures*"])


def test_summary_names_the_date_of_the_last_calibration(session):
    save(FOUND)
    _, shown = session()
    said = "calibration of fake, fake timer, hot cache: 2026-11-20, 20 false passes and 19 false fails of 1000 gates"
    assert said in " ".join(shown.str().split())


def test_session_without_gates_hears_nothing_of_calibrations(session):
    _, shown = session(marker="")
    shown.no_fnmatch_line("calibration of*")


def test_too_tight_bound_is_warned_of_in_the_record_and_the_summary(session):
    save(FOUND)
    record, shown = session("@pytest.mark.speedup(0.999)")
    assert any(warning.startswith("the bound 0.999 is 0.10 % from equally fast") for warning in record["warnings"])
    shown.fnmatch_lines(["warning: the bound 0.999 is 0.10 % from equally fast*"])


def test_too_tight_bound_is_warned_of_before_the_race(monkeypatch):
    """The order of events, which neither record nor summary shows."""
    from pytest_kgate.bench import call as bench

    save(FOUND)
    events = []

    def race(*arguments, **options):
        events.append("race")
        raise RuntimeError("far enough")

    monkeypatch.setattr(bench, "race_with_retry", race)
    with pytest.raises(RuntimeError, match="far enough"):
        bench.run(_request(), _device(), _picker(), {}, events.append, None, events.append)
    assert [event[:15] for event in events] == ["the bound 0.999", "race"]


def _request():
    from pytest_kgate.bench.request import Request
    from pytest_kgate.bench.request import Settings
    from pytest_kgate.problems.problem import Problem

    problem = Problem("relu", lambda g: (torch.randn(8, generator=g),), torch.relu, lambda x: torch.relu(x.double()))
    return Request("test", 0, torch.relu, problem, (SpeedGate(0.999),), None, Settings())


def _device():
    from pytest_kgate.device.fake.device import FakeDevice

    return FakeDevice({"candidate": 0.8e-5, "reference": 1e-5})


def _picker():
    from pytest_kgate.bench.race.reference import ReferencePicker

    return ReferencePicker()
