"""What the rules find, in what order, on numbers such as kernels of known bottleneck have."""

from __future__ import annotations

import random
import string
from typing import Any

import pytest
from sample_records import speed_record

from pytest_kgate.profile.insights.find import CAUSE
from pytest_kgate.profile.insights.find import found
from pytest_kgate.profile.insights.find import insights_of
from pytest_kgate.profile.insights.rules.table import RULES
from pytest_kgate.profile.nsight.metrics.table import METRICS

QUIET = {
    **dict.fromkeys(("tensor", "fma", "alu", "xu", "fp64", "dram", "l2", "l1", "shared", "lsu"), 20.0),
    "warps": 60.0,
    "warps_possible": 75.0,
    "issue": 65.0,
    "waves": 20.0,
    "sm_resident": 99.0,
    "launches": 1.0,
    "duration": 1e-4,
    "blocks": 2640.0,
    "sm_count": 132.0,
    "registers": 64.0,
    "limit_registers": 8.0,
    "limit_shared_mem": 8.0,
    "limit_warps": 8.0,
    "shared_per_block": 1024.0,
    "local_memory": 0.0,
    "l1_bytes": 1e8,
    "bank_conflicts": 0.0,
    "shared_wavefronts": 1e6,
    "load_efficiency": 100.0,
    "sectors_per_load": 4.0,
    "load_sectors": 2e6,
    "l2_sectors": 4e6,
    "dram_bytes": 1e6,
    "l2_hit": 50.0,
}
"""Metrics of a kernel in which nothing stands out."""

KINDS: dict[str, dict[str, float]] = {
    "balanced": {},
    "memory-bound": {"dram": 91, "l2": 60, "l1": 30, "issue": 8, "warps": 90},
    "tensor-bound": {"tensor": 62, "issue": 15, "warps": 25, "warps_possible": 25, "limit_registers": 2},
    "exp-bound": {"xu": 95, "issue": 50},
    "fp32-bound": {"fma": 97, "issue": 97},
    "l2-bound": {"l2": 85, "l2_hit": 99, "l1": 70, "issue": 10, "warps": 95},
    "l1-bound": {"l1": 88, "shared": 70, "issue": 40},
    "small-grid": {"waves": 0.004, "blocks": 1, "sm_resident": 0.8, "issue": 8, "busiest": 1, "dram": 1, "warps": 50},
    "tail-effect": {"waves": 1.004, "sm_resident": 51, "fma": 48, "issue": 90},
    "occupancy-registers": {"warps_possible": 12.5, "warps": 12, "limit_registers": 1, "registers": 255, "issue": 4},
    "occupancy-shared": {
        "warps_possible": 12.5,
        "warps": 12,
        "limit_shared_mem": 2,
        "shared_per_block": 1e5,
        "issue": 5,
    },
    "occupancy-blocks": {"warps_possible": 50, "warps": 48, "limit_blocks": 7, "threads_per_block": 32, "issue": 9},
    "occupancy-bound": {"warps_possible": 100, "warps": 15, "issue": 20},
    "latency-bound": {"warps": 98, "warps_possible": 100, "issue": 5},
    "spills": {"local_memory": 9e7, "dram": 80, "l1": 60, "l2": 70, "issue": 12},
    "bank-conflicts": {"bank_conflicts": 31e6, "shared_wavefronts": 32e6, "shared": 97, "l1": 97, "issue": 5},
    "uncoalesced": {"load_efficiency": 12.5, "sectors_per_load": 32, "dram": 80, "l1": 50, "l2": 75, "dram_bytes": 9e6},
    "excess-bytes": {"dram": 92, "dram_bytes": 16.0 * 2**20, "l2": 60, "issue": 8},
    "launch-overhead": {"launches": 20, "duration": 44e-6, "waves": 0.03, "blocks": 640, "issue": 3, "warps": 11},
}
"""Name -> how the metrics of a kernel of that kind differ from `QUIET`."""


def profiled(metrics: dict[str, float], **changes: Any) -> Any:
    """A record with these metrics of its candidate."""
    launches = int(metrics.get("launches", 1))
    named = {
        name: {"value": value, "unit": METRICS[name].unit, "raw": name}
        for name, value in metrics.items()
        if name in METRICS
    }
    record = speed_record(ratio=1.2)
    record["counters"] = {
        "state": "measured",
        "reason": "",
        "tool": "ncu 2025.3.1",
        "replay": "kernel",
        "cache_control": "none",
        "clock_control": "none",
        "seconds": 3.0,
        "sections": [],
        "report": None,
        "reference": None,
        "candidate": {"launches": [], "launch_count": launches, "metrics": named},
    }
    return record | changes


@pytest.mark.parametrize("kind", KINDS)
def test_a_kernel_of_each_kind_has_its_name_as_the_first_finding(kind: str) -> None:
    first, *_ = insights_of(profiled(QUIET | KINDS[kind]))
    assert first["name"] == kind
    assert first["evidence"]["share"] > 0
    assert "{" not in first["finding"]


def test_every_rule_has_a_kernel_that_it_names_or_is_about_the_race() -> None:
    assert {rule.name for rule in RULES} == {*KINDS, "power-limited", "clock-limited", "at-the-roofline"}


def test_who_reaches_the_roofline_is_told_so_before_what_it_is_bound_by() -> None:
    record = profiled(QUIET | KINDS["memory-bound"])
    latency = record["timing"]["candidate"]["median_seconds"]
    record["roofline"] = {"floor_seconds": 0.9 * latency}
    first, second, *_ = insights_of(record)
    assert (first["name"], second["name"]) == ("at-the-roofline", "memory-bound")
    assert "reaches 90 %" in first["finding"]
    record["roofline"] = {"floor_seconds": 0.5 * latency}
    assert insights_of(record)[0]["name"] == "memory-bound"


def test_a_cause_stands_before_its_symptoms_though_they_weigh_more() -> None:
    names = [one["name"] for one in insights_of(profiled(QUIET | KINDS["excess-bytes"]))]
    assert names.index("excess-bytes") < names.index("memory-bound")


def test_a_small_cause_does_not() -> None:
    numbers = QUIET | {"busiest": 91, "dram": 91, "needed_bytes": 1e6, "dram_bytes": 1.25e6}
    weak = (1 - 1 / 1.25) * 0.91
    assert weak < CAUSE
    assert [rule.name for rule, _ in found(numbers)][:2] == ["memory-bound", "excess-bytes"]


def test_low_occupancy_is_no_finding_where_a_unit_is_busy_all_the_time() -> None:
    metrics = QUIET | {"tensor": 97, "warps": 12, "warps_possible": 12.5, "limit_registers": 1, "issue": 20}
    assert [one["name"] for one in insights_of(profiled(metrics))] == ["tensor-bound"]


def test_the_advice_names_the_knobs_that_the_candidate_has() -> None:
    record = profiled(QUIET | KINDS["bank-conflicts"])  # of `wmma`, built with BLOCK_M=64
    conflicts, *_ = insights_of(record)
    assert "PAD (default 8)" in conflicts["advice"]
    excess, *_ = insights_of(profiled(QUIET | KINDS["excess-bytes"]))
    assert "BLOCK_M (now 64)" in excess["advice"]
    record["candidate"] |= {"implementation": None, "knobs": {}}
    assert "knob" not in insights_of(record)[0]["advice"]


def test_without_counters_only_the_race_is_looked_at() -> None:
    record = speed_record()
    assert insights_of(record) == []
    record["environment"]["gpu"]["sm_clock_max_hz"] = 1980e6
    reading = {"round": 0, "throttle": 0x04, "temperature_c": 60.0, "foreign_processes": 0, "seconds": 0.001}
    record["timing"]["evidence"] = {"sm_clock_hz": [1400e6, 1386e6, 1386e6], "machine": [reading]}
    (limited,) = insights_of(record)
    assert limited["name"] == "power-limited"
    assert "30 %" in limited["finding"]


def test_a_number_that_is_missing_silences_its_rules_only() -> None:
    metrics = QUIET | KINDS["memory-bound"]
    del metrics["load_efficiency"], metrics["tensor"]
    assert insights_of(profiled(metrics))[0]["name"] == "memory-bound"


def test_no_set_of_numbers_is_too_odd_for_the_rules() -> None:
    draw, record = random.Random(1), profiled(QUIET)
    arm = record["counters"]["candidate"]
    whole = arm["metrics"]
    for _ in range(100):
        kept = {name: facts for name, facts in whole.items() if draw.random() < 0.9}
        odd = {name: draw.choice((0.0, 1e-9, 1.0, facts["value"], 100.0, 1e12)) for name, facts in kept.items()}
        arm |= {"metrics": {name: {**kept[name], "value": value} for name, value in odd.items()}}
        arm["launch_count"] = draw.choice((1, 2, 20))
        record["problem"]["bytes"] = draw.choice((None, 0.0, 1.0, 1e12))
        for one in insights_of(record):
            assert 0 < one["evidence"]["share"] <= 1


def test_causes_stand_before_their_symptoms_in_the_table_and_every_rule_shows_what_it_looks_at() -> None:
    places = {rule.name: place for place, rule in enumerate(RULES)}
    assert len(places) == len(RULES)
    for rule in RULES:
        assert all(places[rule.name] < places[symptom] for symptom in rule.explains), rule.name
        fields = [name for _, name, _, _ in string.Formatter().parse(rule.finding) if name]
        assert fields, rule.name
        assert rule.condition
        assert rule.source
        assert rule.advice.endswith(".")
