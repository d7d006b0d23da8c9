"""Lower bounds are below what real kernels do, and above doing nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_kgate import Problem
from pytest_kgate.device.host import HostDevice
from pytest_kgate.integrity.roofline import Peaks
from pytest_kgate.integrity.roofline import lower_bound
from pytest_kgate.integrity.roofline import peaks_of

H200 = Peaks(132 * 1.98e9 * 4096, 132 * 1.98e9 * 128, 4.9e12)
RECORDS = sorted((Path(__file__).parents[2] / "benchmarks" / "h200").glob("*.json"))


def problem(flops=None, bytes=None, dtype="float16"):
    return Problem("any", lambda g: (), lambda: None, lambda: None, flops=flops, bytes=bytes, dtype=dtype)


def test_larger_of_arithmetic_and_bytes_counts():
    assert lower_bound(problem(flops=1e12, bytes=1.0), H200, "hot").seconds == pytest.approx(
        1e12 / H200.flops_per_second
    )
    found = lower_bound(problem(flops=1.0, bytes=1e9), H200, "hot")
    assert found.seconds == pytest.approx(1e9 / H200.near_bytes_per_second)
    assert "bytes" in found.demand


def test_cold_cache_costs_device_memory_and_a_hot_one_does_not():
    cold, hot = (lower_bound(problem(bytes=1e9), H200, cache).seconds for cache in ("cold", "hot"))
    assert cold == pytest.approx(5e8 / H200.far_bytes_per_second)
    assert hot < cold


@pytest.mark.parametrize(
    ("dtype", "factor"), [("float16", 1), ("float8_e4m3fn", 2), ("int8", 2), ("float4_e2m1fn_x2", 4)]
)
def test_narrow_types_may_be_faster(dtype, factor):
    assert lower_bound(problem(flops=1e12, dtype=dtype), H200, "hot").seconds * factor == pytest.approx(
        1e12 / H200.flops_per_second
    )


@pytest.mark.parametrize("peaks", [None, H200])
def test_nothing_is_said_where_nothing_is_known(peaks):
    assert lower_bound(problem(), peaks, "hot") is None
    assert lower_bound(problem(flops=1.0), None, "hot") is None


def test_host_has_peaks_and_they_are_high():
    assert peaks_of(HostDevice()).flops_per_second > 1e12


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_no_kernel_that_was_measured_is_accused(path):
    content = json.loads(path.read_text())
    for record in content.get("records", []) if isinstance(content, dict) else []:
        if not record.get("timing"):
            continue
        facts = record["problem"]
        found = lower_bound(problem(facts["flops"], facts["bytes"], facts["dtype"]), H200, record["timing"]["cache"])
        for arm in ("candidate", "reference"):
            assert float(record["timing"][arm]["median_seconds"]) > found.seconds
