"""What the rules find in real reports of an H100."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_kgate.profile.insights.find import insights_of
from pytest_kgate.profile.nsight.aggregate import arm_counters
from pytest_kgate.profile.nsight.reading.raw_csv import read_raw_csv
from pytest_kgate.report.record.document import load
from pytest_kgate.report.record.facts.counters import LaunchCounters
from pytest_kgate.report.record.facts.insights import InsightFacts

RECORDS = Path(__file__).parents[3] / "benchmarks" / "h100" / "perf-profiled-2026-11-28.json"
REPORT = Path(__file__).parents[1] / "nsight" / "reports" / "attention.csv"

FIRST = {
    "1x8x512x64, 128 blocks": ("kgate::latency_warpgroup<__half, 64>", "small-grid"),
    "1x8x512x64, 32 blocks": ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16", "small-grid"),
    "2x8x2048x128": ("pytorch_flash::flash_fwd_kernel", "tensor-bound"),
    "a large softmax": ("<unnamed>::softmax_warp_forward", "memory-bound"),
    "a copy": ("at::vectorized_elementwise_kernel<8, at::float16_copy", "memory-bound"),
    "a product of matrices": ("nvjet_sm90_hsh_256x128_64x4_1x2_h_bz_coopA_NNT", "tensor-bound"),
    "exponentials of an array": ("at::vectorized_elementwise_kernel<4, at::exp_kernel", "memory-bound"),
}
"""What the launch does, the beginning of its kernel's name, and what must be found first."""


def launches(beginning: str) -> Iterator[LaunchCounters]:
    for one in read_raw_csv(REPORT.read_text()):
        if one.counters["kernel"].removeprefix("void ").startswith(beginning):
            yield one.counters


def findings(called: list[LaunchCounters]) -> list[InsightFacts]:
    return insights_of(
        {
            "candidate": {"implementation": None, "knobs": {}, "resources": []},
            "problem": {"bytes": None},
            "timing": None,
            "counters": {"candidate": arm_counters(called, "sm_90")},
        }  # type: ignore[typeddict-item]  # as much of a record as the rules look at
    )


@pytest.mark.parametrize("what", FIRST)
def test_known_kernels_are_bound_by_what_they_are_known_for(what: str) -> None:
    beginning, name = FIRST[what]
    first, *_ = launches(beginning)
    found = findings([first])
    assert found[0]["name"] == name
    assert all(0 < one["evidence"]["share"] <= 1 for one in found)


def test_five_launches_that_do_next_to_nothing_are_launch_overhead() -> None:
    tiny = list(launches("at::vectorized_elementwise_kernel<4, at::AUnaryFunctor"))
    assert len(tiny) == 5
    first, *others = findings(tiny)
    assert first["name"] == "launch-overhead"
    assert "5 launches" in first["finding"]
    assert "small-grid" in [one["name"] for one in others]


def test_few_loads_beside_copies_by_the_tensor_memory_accelerator_are_not_called_uncoalesced() -> None:
    decoding = [one for one in load(RECORDS) if one["candidate"]["name"] == "decode"]
    assert len(decoding) == 3
    for record in decoding:
        metrics = (record["counters"]["candidate"] or {"metrics": {}})["metrics"]
        assert metrics["load_efficiency"]["value"] < 60, "the few that it has waste half of what they fetch"
        assert metrics["load_sectors"]["value"] < 0.01 * metrics["l2_sectors"]["value"]
        names = [one["name"] for one in insights_of(record)]
        assert names[0] == "at-the-roofline"
        assert "uncoalesced" not in names
