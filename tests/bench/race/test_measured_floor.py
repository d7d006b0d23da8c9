"""The measured roofline: which rate sets a problem's floor, and what is said where none does."""

from __future__ import annotations

import pytest

from pytest_kgate import Problem
from pytest_kgate.bench.race.speed_of_light.rates import TF32
from pytest_kgate.bench.race.speed_of_light.rates import MeasuredRates
from pytest_kgate.bench.race.speed_of_light.rates import Rate
from pytest_kgate.bench.race.speed_of_light.rates import floor_of

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
