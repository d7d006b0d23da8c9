"""Counters of several launches as one value of the call, and bounds on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_kgate.profile.nsight.aggregate import arm_counters
from pytest_kgate.profile.nsight.bounds import read_bounds
from pytest_kgate.profile.nsight.judge import judge

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.counters import CountersFacts
    from pytest_kgate.report.record.facts.counters import LaunchCounters
    from pytest_kgate.report.record.facts.limits import LimitFacts

TENSOR = "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed"
DRAM = "dram__bytes_read.sum"
DRAM_WRITE = "dram__bytes_write.sum"
LOADS = "l1tex__t_requests_pipe_lsu_mem_global_op_ld.sum"
TENSOR_ACTIVE = "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active"


def launch(
    metrics: dict[str, float] | None = None, kernel: str = "attention", cycles: float = 1000.0
) -> LaunchCounters:
    """One launch with these raw metrics, and those that weigh it."""
    weights = {
        "gpu__time_duration.sum": cycles * 1e-9,
        "sm__cycles_elapsed.max": cycles,
        "sm__cycles_active.avg": cycles / 2,
    }
    return {"kernel": kernel, "grid": [1, 1, 1], "block": [128, 1, 1], "metrics": {**weights, **(metrics or {})}}


def counters(*launches: LaunchCounters, raw: tuple[str, ...] = (), reason: str = "") -> CountersFacts:
    return {
        "state": "not measured" if reason else "measured",
        "reason": reason,
        "tool": "ncu 2025.3.1",
        "replay": "kernel",
        "cache_control": "all",
        "clock_control": "none",
        "seconds": 1.0,
        "sections": [],
        "report": None,
        "candidate": None if reason else arm_counters(launches, "sm_90a", raw),
        "reference": None,
    }


def judged(facts: CountersFacts, arch: str = "sm_90a", ideal: float | None = None, **bounds: str) -> LimitFacts:
    (limit,) = judge(read_bounds(bounds), facts, ideal, arch)
    return limit


def test_bytes_of_all_launches_are_added_up_and_shares_weighed_by_their_cycles() -> None:
    first = launch({DRAM: 2e6, DRAM_WRITE: 1e6, TENSOR: 60.0}, cycles=3000.0)
    second = launch({DRAM: 1e6, DRAM_WRITE: 0.0, TENSOR: 20.0})
    metrics = arm_counters([first, second], "sm_90a")["metrics"]
    assert metrics["dram_bytes"] == {"value": 4e6, "unit": "bytes", "raw": f"{DRAM} + {DRAM_WRITE}"}
    assert metrics["tensor"]["value"] == pytest.approx((3 * 60 + 20) / 4)
    assert metrics["sm_cycles"]["value"] == 4000.0


def test_two_counters_of_one_metric_are_added_up() -> None:
    local = "l1tex__t_bytes_pipe_lsu_mem_local_op_"
    metrics = arm_counters([launch({f"{local}ld.sum": 64.0, f"{local}st.sum": 32.0})], "sm_90")["metrics"]
    assert metrics["local_memory"] == {"value": 96.0, "unit": "bytes", "raw": f"{local}ld.sum + {local}st.sum"}


def test_a_launch_that_asks_nothing_of_a_cache_has_no_part_in_its_hit_rate() -> None:
    busy = launch({"lts__t_sectors.sum": 100.0, "lts__t_sector_hit_rate.pct": 80.0})
    assert arm_counters([busy, launch({"lts__t_sectors.sum": 0.0})], "sm_90")["metrics"]["l2_hit"]["value"] == 80.0


def test_a_ratio_is_of_the_sums_over_all_launches() -> None:
    sectors = LOADS.replace("requests", "sectors")
    launches = [launch({LOADS: 1.0, sectors: 4.0}), launch({LOADS: 3.0, sectors: 96.0})]
    metric = arm_counters(launches, "sm_90")["metrics"]["sectors_per_load"]
    assert metric == {"value": 25.0, "unit": "sectors", "raw": f"{sectors} / {LOADS}"}


def test_loads_by_cp_async_are_no_wasted_sectors() -> None:
    """Half of what a plain load touches is asked for; `cp.async`, which other counters count, asks for all of it."""
    asked = "smsp__sass_data_bytes_mem_global_op"
    sectors = LOADS.replace("requests", "sectors")
    plain = launch({sectors: 8.0, f"{asked}_ld.sum": 128.0, f"{asked}_ldgsts.sum": 0.0})
    copies = launch({sectors: 24.0, f"{asked}_ld.sum": 0.0, f"{asked}_ldgsts.sum": 768.0})
    by_tma = launch({sectors: 0.0, f"{asked}_ld.sum": 0.0, f"{asked}_ldgsts.sum": 0.0})
    found = [arm_counters(ones, "sm_90")["metrics"].get("load_efficiency") for ones in ([plain], [copies], [by_tma])]
    assert [one and one["value"] for one in found] == [50.0, 100.0, None]
    assert arm_counters([plain, copies], "sm_90")["metrics"]["load_efficiency"]["value"] == 87.5


def test_a_cache_of_which_nothing_is_asked_has_no_hit_rate() -> None:
    metrics = {"l1tex__t_bytes.sum": 0.0, "l1tex__t_sector_hit_rate.pct": 0.0}
    assert "l1_hit" not in arm_counters([launch(metrics)], "sm_90")["metrics"]


def test_a_sum_is_unknown_where_one_launch_has_no_value() -> None:
    assert "dram_read" not in arm_counters([launch({DRAM: 1.0}), launch()], "sm_90")["metrics"]


def test_raw_names_are_combined_by_their_ending() -> None:
    names = ("a__b.sum", "a__b.max", "a__b.avg", "launch__c")
    one, other = (dict.fromkeys(names, value) for value in (1.0, 3.0))
    metrics = arm_counters([launch(one, cycles=3000.0), launch(other)], "sm_90", names)["metrics"]
    assert [metrics[name]["value"] for name in names] == [4.0, 3.0, pytest.approx(1.5), 3.0]


def test_the_record_keeps_the_first_launches_and_counts_all() -> None:
    arm = arm_counters([launch({DRAM: 1.0, "not_in__the_table": 2.0})] * 40, "sm_90")
    assert (len(arm["launches"]), arm["launch_count"], arm["metrics"]["dram_read"]["value"]) == (16, 40, 40.0)
    assert "not_in__the_table" not in arm["launches"][0]["metrics"]


def test_a_bound_holds_or_not() -> None:
    facts = counters(launch({TENSOR: 64.8}))
    assert judged(facts, tensor=">= 60 %")["verdict"] == "PASS"
    assert judged(facts, tensor=">= 60 %")["reason"] == ""
    failed = judged(facts, tensor=">= 70 %")
    assert (failed["verdict"], failed["value"], failed["bound"], failed["unit"]) == ("FAIL", 64.8, 70.0, "%")
    assert failed["reason"] == "tensor is 64.8 %, below 70 %."


def test_bytes_in_times_the_problems_own_and_in_the_bounds_unit() -> None:
    facts = counters(launch({DRAM: 2 * 2.0**20, DRAM_WRITE: 2.0**20}))
    times = judged(facts, ideal=2.0**21, dram="<= 1.2x")
    assert (times["name"], times["value"], times["unit"], times["verdict"]) == ("dram", 1.5, "x", "FAIL")
    assert times["reason"] == "dram is 1.5x, above 1.2x."
    assert judged(facts, dram="<= 4 MiB")["value"] == 3.0
    assert judged(facts, dram__bytes="<= 4 MiB")["verdict"] == "NOT MEASURED"  # it was not asked for


def test_the_kernel_with_the_most_registers_is_named() -> None:
    name = "launch__registers_per_thread"
    facts = counters(launch({name: 72.0}, "split"), launch({name: 168.0}, "merge"), raw=(name,))
    for failed in (judged(facts, registers="<= 128"), judged(facts, **{name: "<= 128"})):
        assert (failed["kernel"], failed["value"], failed["verdict"]) == ("merge", 168.0, "FAIL")


def test_a_small_grid_is_said_beside_a_share_of_the_whole_launch() -> None:
    facts = counters(launch({"launch__waves_per_multiprocessor": 0.24, TENSOR: 6.4, TENSOR_ACTIVE: 31.0}))
    assert judged(facts, tensor=">= 60 %")["reason"] == (
        "tensor is 6.4 %, below 60 %; the grid is 0.24 waves, so SMs have room left "
        "(while an SM has a warp it is 31 %: tensor_active)."
    )
    assert "waves" not in judged(facts, tensor_active=">= 60 %")["reason"]


@pytest.mark.parametrize(
    ("facts", "arch", "bounds", "reason"),
    [
        (counters(reason="There is no ncu."), "sm_90", {"tensor": ">= 60 %"}, "There is no ncu."),
        (counters(launch()), "sm_120", {"stall_gmma": "<= 3"}, "sm_120 has no stall_gmma; sm_90 has it."),
        (counters(), "sm_90", {"tensor": ">= 60 %"}, "The candidate launched no kernel."),
        (counters(launch()), "sm_90", {"tensor": ">= 60 %"}, "gave no value of tensor for these kernels."),
        (
            counters(launch(), raw=("a__b",)),
            "sm_90",
            {"a__b": "<= 3"},
            "mostly end in .sum or .avg",
        ),
        (counters(launch({LOADS: 0.0})), "sm_90", {"sectors_per_load": "<= 4"}, "their load_requests are 0."),
    ],
)
def test_what_was_not_measured_is_neither_passed_nor_failed(
    facts: CountersFacts, arch: str, bounds: dict[str, str], reason: str
) -> None:
    limit = judged(facts, arch, **bounds)
    assert (limit["verdict"], limit["value"]) == ("NOT MEASURED", None)
    assert reason in limit["reason"]
