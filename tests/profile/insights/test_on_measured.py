"""What the rules find in the counters of planted and of shipped kernels, as an H100 and an H200 have counted them.

measured-*.json are what `profile_planted.py` wrote there, with all metrics. A session reads fewer of them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planted_kernels import PLANTED
from planted_kernels import Planted
from planted_kernels import profiled

from pytest_kgate.profile.insights.find import insights_of
from pytest_kgate.profile.nsight.metrics.table import USUAL
from pytest_kgate.report.record.document import load

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"

MEASURED = {
    gpu: json.loads(Path(__file__).with_name(f"measured-{gpu.lower()}.json").read_text()) for gpu in ("H100", "H200")
}
COUNTED = [(gpu, one) for gpu, counted in MEASURED.items() for one in PLANTED if one.name in counted]


@pytest.mark.parametrize(("gpu", "planted"), COUNTED, ids=[f"{gpu}-{one.name}" for gpu, one in COUNTED])
def test_each_planted_kernel_is_given_its_name_first(gpu: str, planted: Planted) -> None:
    counted = MEASURED[gpu][planted.name]
    values = {name: value for name, value in counted["metrics"].items() if name in USUAL}
    metrics = {name: {"value": value, "unit": "", "raw": name} for name, value in values.items()}
    first, *_ = insights_of(
        profiled(planted, {"launches": [], "launch_count": counted["launches"], "metrics": metrics})
    )
    assert first["name"] == planted.expected_on(gpu), first["finding"]


@pytest.mark.parametrize("file", ["h100/perf-profiled-2026-11-28.json", "h200/profile-2026-11-28.json"])
def test_what_only_a_request_reads_changes_no_finding_of_shipped_kernels(file: str) -> None:
    records = [record for record in load(BENCHMARKS / file) if record.get("insights")]
    assert records
    for record in records:
        arm = record["counters"]["candidate"]
        assert arm is not None
        metrics = {name: facts for name, facts in arm["metrics"].items() if name in USUAL}
        assert len(metrics) < len(arm["metrics"])
        usual = {**record, "counters": {**record["counters"], "candidate": {**arm, "metrics": metrics}}}
        assert insights_of(usual) == insights_of(record)
