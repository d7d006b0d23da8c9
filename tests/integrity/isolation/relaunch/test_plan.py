"""How a sample is planned, and how its two intervals become a latency that no longer short row lowers."""

from __future__ import annotations

import math

import pytest

from pytest_kgate.integrity.isolation.relaunch.sampling.plan import RowPlan
from pytest_kgate.integrity.isolation.relaunch.sampling.plan import latencies

H100_L2 = 50 * 2**20


def test_values_of_a_row_fit_a_half_of_the_l2():
    plan = RowPlan.of(slot_bytes=2 * 2**20, l2_bytes=H100_L2, estimated_seconds=4e-6)
    assert plan.fits_l2
    assert plan.long * plan.slot_bytes < H100_L2 / 2
    assert plan.timed == plan.short + plan.long == plan.warm_slot


def test_large_calls_get_a_short_row_that_is_not_called_hot():
    plan = RowPlan.of(slot_bytes=64 * 2**20, l2_bytes=H100_L2, estimated_seconds=1e-3)
    assert not plan.fits_l2
    assert (plan.short, plan.long) == (1, 4)


def test_what_the_first_calls_of_a_row_take_longer_is_in_both_rows():
    plan = RowPlan.of(slot_bytes=2_117_632, l2_bytes=60 * 2**20, estimated_seconds=4e-6)  # `latency` on an H200
    calls = [6e-6, 5e-6, 4.5e-6] + [4e-6] * (plan.long - 3)
    seconds, _ = latencies(sum(calls[: plan.short]), sum(calls), plan, math.inf)
    assert seconds == pytest.approx(4e-6)
    assert plan.long - plan.short >= 5


@pytest.mark.parametrize("long_bytes", [2**16, 2**20, 3 * 2**20, 2**22, 2**23])
def test_short_row_leaves_most_of_the_long_one_to_be_timed(long_bytes):
    plan = RowPlan.of(long_bytes, H100_L2, 4e-6)
    assert 1 <= plan.short <= 0.4 * plan.long


def test_plan_survives_the_way():
    plan = RowPlan.of(2**20, H100_L2, 1e-5)
    assert RowPlan.from_dict(plan.to_dict()) == plan


def test_latency_is_the_slope():
    plan = RowPlan.of(2 * 2**20, H100_L2, 4e-6)
    short, long = (2e-6 + 4e-6 * calls for calls in (plan.short, plan.long))
    assert latencies(short, long, plan, math.inf) == pytest.approx((4e-6, 2e-6))
    assert latencies(short, long, plan, 3e-6) == pytest.approx((4e-6, 2e-6))


def test_short_row_that_is_made_longer_gains_nothing():
    plan = RowPlan.of(2 * 2**20, H100_L2, 4e-6)
    long = 2e-6 + 4e-6 * plan.long
    honest, _ = latencies(2e-6 + 4e-6 * plan.short, long, plan, 3e-6)
    tricky, _ = latencies(20e-6 + 4e-6 * plan.short, long, plan, 3e-6)
    assert tricky > honest - 1e-6 / plan.long - 1e-12
