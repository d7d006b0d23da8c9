"""What is found of a GPU whose clock is held down: in records of an H100 at its cap, and on one that is loaded."""

from __future__ import annotations

import copy
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_kgate.profile.insights.find import insights_of
from pytest_kgate.profile.insights.rule import LEAST_SHARE
from pytest_kgate.report.record.document import load

CAPPED = Path(__file__).parents[3] / "benchmarks" / "h100" / "hopper-knobs-2026-11-28.json"
"""Races of `hopper` on problems of unequal size, many of them at the power cap; without counters."""

POWER_CAP = 0x04
HEAT = {"hardware slowdown": 0x08, "heat, by the driver": 0x20, "heat, by the hardware": 0x40}
"""NVML's reasons for a lower clock."""


def state(record: Any) -> tuple[int, float]:
    """All reasons that the GPU gave during the race, and by which part its clock was below the highest."""
    evidence = record["timing"]["evidence"]
    reasons = 0
    for reading in evidence["machine"]:
        reasons |= reading["throttle"] or 0
    clocks = statistics.median(evidence["sm_clock_hz"])
    return reasons, 1 - clocks / record["environment"]["gpu"]["sm_clock_max_hz"]


def slowest() -> Any:
    return max(load(CAPPED), key=lambda record: state(record)[1])


def test_records_at_the_power_cap_say_so_where_the_clock_was_lower() -> None:
    told, others = 0, 0
    for record in load(CAPPED):
        reasons, loss = state(record)
        names = [one["name"] for one in insights_of(record)]
        expected = bool(reasons & POWER_CAP) and loss >= LEAST_SHARE
        assert ("power-limited" in names) == expected, (record["test"], reasons, loss)
        assert "clock-limited" not in names
        told += expected
        others += not expected
    assert told >= 4
    assert others >= 4, "the cap alone, at the highest clock, costs nothing"


def test_the_finding_has_the_clock_that_was_lost() -> None:
    _, loss = state(slowest())
    first, *_ = insights_of(slowest())
    assert first["name"] == "power-limited"
    assert f"{100 * loss:.0f} % below the highest" in first["finding"]


@pytest.mark.parametrize("reason", HEAT)
def test_the_same_clock_held_down_by_heat_is_another_finding(reason: str) -> None:
    record = copy.deepcopy(slowest())
    for reading in record["timing"]["evidence"]["machine"]:
        reading["throttle"] = HEAT[reason]
    first, *_ = insights_of(record)
    assert (first["name"], first["confidence"]) == ("clock-limited", "sure")


LOADED = """
import pytest
import torch
from pytest_kgate import Problem

SIDE = 8192

def product():
    def inputs(g):
        return tuple(torch.randn(SIDE, SIDE, generator=g, device=g.device).half() for _ in range(2))
    def exact(a, b):
        return a.double() @ b.double()
    return Problem("product", inputs, torch.matmul, exact, flops=2 * SIDE**3, bytes=6 * SIDE**2, dtype="float16")

def candidate(a, b):
    return (b.t() @ a.t()).t()

@pytest.mark.perf(budget=8)
@pytest.mark.speedup(1.0)  # of a candidate that is as fast as its reference: it goes on for all its budget
def test_product(kbench):
    kbench(candidate, product())

N = 1 << 26

def sums():
    def inputs(g):
        return torch.randn(N, generator=g, device=g.device), torch.randn(N, generator=g, device=g.device)
    def exact(a, b):
        return a.double() + b.double()
    return Problem("sums", inputs, torch.add, exact, flops=N, bytes=12 * N, dtype="float32")

@pytest.mark.perf(budget=2)
@pytest.mark.speed_of_light(0.5)
def test_sums(kbench):
    kbench(lambda a, b: a + b, sums())
"""
"""A product that keeps the tensor cores busy for seconds, and what is nearly a copy."""


@pytest.fixture(scope="module")
def on_this_gpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("loaded")
    (folder / "test_mine.py").write_text(LOADED)
    arguments = ["--kgate-profile", "--kgate-json=records.json", "--kgate-device=cuda:0"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    found = {record["test"].partition("::")[2]: record for record in load(folder / "records.json")}
    assert len(found) == 2, done.stdout + done.stderr
    return found


@pytest.mark.gpu
def test_what_is_nearly_a_copy_is_at_the_roofline_of_this_gpu(on_this_gpu: dict[str, Any]) -> None:
    record = on_this_gpu["test_sums"]
    counters = record["counters"]
    if counters["state"] != "measured":
        pytest.skip(counters["reason"])
    assert record["limits"][0]["kind"] == "speed_of_light"
    assert record["limits"][0]["value"] > 80
    assert record["insights"][0]["name"] == "at-the-roofline"
    assert "memory-bound" in [one["name"] for one in record["insights"]]


@pytest.mark.gpu
def test_products_at_full_size_are_power_limited_where_the_gpu_reports_its_cap(on_this_gpu: dict[str, Any]) -> None:
    """Demanded is that the finding is there exactly if NVML told the cap during the race and the clock was 5 % lower.

    It is not the first: the tensor cores are what a lower clock slows down, and no reason for it.
    """
    record = on_this_gpu["test_product"]
    reasons, loss = state(record)
    names = [one["name"] for one in insights_of(record)]
    print(f"reasons {reasons:#x}, clock {100 * loss:.1f} % below the highest, findings {', '.join(names)}")  # with -s
    assert ("power-limited" in names) == (bool(reasons & (POWER_CAP | 0x80)) and loss >= LEAST_SHARE)
    if "power-limited" not in names:
        pytest.skip(f"this GPU did not come to its power cap: reasons {reasons:#x}, clock {100 * loss:.1f} % lower")
    assert record["insights"] == insights_of(record)
