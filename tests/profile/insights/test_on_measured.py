"""What the rules find in the counters of the planted kernels, as an H100 and an H200 have counted them.

measured-*.json are what `profile_planted.py` wrote there.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planted_kernels import PLANTED
from planted_kernels import Planted
from planted_kernels import profiled

from pytest_kgate.profile.insights.find import insights_of

MEASURED = {
    gpu: json.loads(Path(__file__).with_name(f"measured-{gpu.lower()}.json").read_text()) for gpu in ("H100", "H200")
}
COUNTED = [(gpu, one) for gpu, counted in MEASURED.items() for one in PLANTED if one.name in counted]


@pytest.mark.parametrize(("gpu", "planted"), COUNTED, ids=[f"{gpu}-{one.name}" for gpu, one in COUNTED])
def test_each_planted_kernel_is_given_its_name_first(gpu: str, planted: Planted) -> None:
    counted = MEASURED[gpu][planted.name]
    metrics = {name: {"value": value, "unit": "", "raw": name} for name, value in counted["metrics"].items()}
    first, *_ = insights_of(
        profiled(planted, {"launches": [], "launch_count": counted["launches"], "metrics": metrics})
    )
    assert first["name"] == planted.expected_on(gpu), first["finding"]
