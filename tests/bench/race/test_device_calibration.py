"""The last calibration of a device, found again."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_kgate.bench.race.calibration.device_calibration import Calibration
from pytest_kgate.bench.race.calibration.device_calibration import identity_of
from pytest_kgate.bench.race.calibration.device_calibration import lookup
from pytest_kgate.bench.race.calibration.device_calibration import resolved_effect
from pytest_kgate.bench.race.calibration.device_calibration import save

GPU = {"device": "cuda", "gpu": {"name": "H200", "uuid": "GPU-1", "driver": "580.1"}}

FOUND = Calibration(
    identity=identity_of(GPU),
    timer="graph",
    cache="hot",
    date="2026-11-20T12:00:00+00:00",
    budget_seconds=10.0,
    gates=1000,
    false_passes=20,
    false_fails=19,
    accepted=True,
    noise_floor={"aa-spin-10us": 0.0013},
    resolved=((2e-6, 0.01), (10e-6, 0.002), (100e-6, 0.0002)),
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KGATE_CACHE_DIR", str(tmp_path / "cache"))


def test_calibration_is_found_for_the_same_device_driver_timer_and_cache_only():
    assert lookup(GPU, "graph", "hot") is None
    save(FOUND)
    assert lookup(GPU, "graph", "hot") == FOUND
    assert lookup(GPU, "queue", "hot") is None
    assert lookup(GPU, "graph", "cold") is None
    assert lookup({**GPU, "gpu": {**GPU["gpu"], "driver": "590.2"}}, "graph", "hot") is None
    assert lookup({**GPU, "gpu": {**GPU["gpu"], "uuid": "GPU-2"}}, "graph", "hot") is None


def test_a_later_calibration_takes_the_place_of_an_earlier_one():
    save(FOUND)
    save(dataclasses.replace(FOUND, gates=56))
    found = lookup(GPU, "graph", "hot")
    assert found is not None
    assert found.gates == 56


def test_damaged_file_counts_as_none():
    save(FOUND).write_text('{"version": 1, "identity"')
    assert lookup(GPU, "graph", "hot") is None


def test_resolved_effect_is_read_between_the_calibrated_latencies():
    assert resolved_effect(FOUND, 10e-6) == pytest.approx(0.002)
    assert resolved_effect(FOUND, (10e-6 * 100e-6) ** 0.5) == pytest.approx((0.002 * 0.0002) ** 0.5)


def test_resolved_effect_outside_the_calibrated_latencies_is_never_better_than_known():
    assert resolved_effect(FOUND, 1e-6) == pytest.approx(0.02)
    assert resolved_effect(FOUND, 1e-3) == pytest.approx(0.0002)
    assert resolved_effect(dataclasses.replace(FOUND, resolved=()), 1e-5) is None
