"""The table of metrics: what a short name means on each architecture, and which raw names are counted for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.profile.insights.rules.table import RULES
from pytest_kgate.profile.nsight.metrics.metric import ARCHITECTURES
from pytest_kgate.profile.nsight.metrics.metric import CHIPS
from pytest_kgate.profile.nsight.metrics.table import METRICS
from pytest_kgate.profile.nsight.metrics.table import USUAL
from pytest_kgate.profile.nsight.metrics.table import architecture
from pytest_kgate.profile.nsight.metrics.table import find
from pytest_kgate.profile.nsight.metrics.table import raw_names


def test_every_mean_has_a_weight_on_all_architectures_that_have_the_metric() -> None:
    for metric in METRICS.values():
        assert (metric.combine == "mean") == bool(metric.weight), metric.name
        assert bool(metric.raw) != bool(metric.ratio), metric.name
        for arch in metric.architectures:
            for part in (*([metric.weight] if metric.weight else []), *metric.ratio):
                assert METRICS[part].on(arch), (metric.name, arch)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_nsight_compute_knows_the_names_of_each_architecture(arch: str) -> None:
    """metrics-by-chip.txt is what `ncu --query-metrics --chips` of 2025.3 says of the counters of the table."""
    lines = (Path(__file__).parent / "reports" / "metrics-by-chip.txt").read_text().splitlines()
    chips = {name: line.split() for name, _, line in (one.partition(":") for one in lines)}
    for raw in raw_names(METRICS, arch):
        counter, dot, _ = raw.partition(".")
        if dot:  # what has no ending is no counter: it is known of every launch
            assert CHIPS[arch] in chips[counter], raw
        else:
            assert raw.startswith(("launch__", "sass__", "sm__maximum_warps")), raw


def test_names_that_differ_between_architectures() -> None:
    assert METRICS["dram_read"].on("sm_90") == ("dram__bytes_read.sum",)
    assert METRICS["dram_read"].on("sm_120") == ("dram__bytes_op_read.sum",)
    assert METRICS["stall_gmma"].architectures == ("sm_90",)
    assert METRICS["tensor"].architectures == ARCHITECTURES


def test_what_is_counted_holds_the_weights_and_the_bytes_behind_a_percentage() -> None:
    assert raw_names(["l2_hit", "dram"], "sm_90a") == (
        "gpu__time_duration.sum",
        "lts__t_sector_hit_rate.pct",
        "lts__t_sectors.sum",
        "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed",
        "dram__bytes_read.sum",
        "dram__bytes_write.sum",
    )
    assert "sm__cycles_active.avg" in raw_names(["sm__cycles_active.avg"], "sm_90")


def test_a_session_counts_what_rules_and_tables_read_and_not_what_warps_wait_for() -> None:
    of_rules = {name for rule in RULES for name in rule.needs if name in METRICS}
    of_tables = {"tensor", "sm", "dram", "warps", "dram_bytes", "registers", "barriers"}
    assert of_rules | of_tables <= set(USUAL)
    others = {name for name in METRICS if name not in USUAL and not name.startswith("stall_")}
    assert others == {"tensor_ops", "fp32_ops", "warp_latency"}
    assert not [one for one in raw_names(USUAL, "sm_90") if "stalled" in one]


def test_what_a_gpu_lacks_is_not_counted() -> None:
    assert not [one for one in raw_names(METRICS, "sm_120") if "gmma" in one]


@pytest.mark.parametrize(
    ("arch", "names"),
    [
        ("sm_90a", "sm_90"),
        ("sm_121", "sm_120"),
        ("sm_103f", "sm_100"),
        ("sm_87", "sm_86"),
        ("sm_75", "sm_80"),
        ("90", "sm_90"),
    ],
)
def test_other_gpus_go_by_the_names_of_the_next_older_one(arch: str, names: str) -> None:
    assert architecture(arch) == names


def test_what_is_no_architecture_is_refused() -> None:
    with pytest.raises(UsageError, match="'hopper' is no architecture"):
        architecture("hopper")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("tensr", "tensor"), ("occupancy", "warps"), ("Coalescing", "load_efficiency"), ("l2hit", "l2_hit")],
)
def test_an_unknown_metric_is_refused_with_the_one_that_was_meant(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"There is no metric '{name}'. Did you mean '{meant}'"):
        find(name)
