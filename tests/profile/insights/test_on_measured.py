"""What the rules find in the counters of the planted kernels, as an H100 has counted them.

measured-h100.json is what `profile_planted.py` wrote there.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planted_kernels import PLANTED
from planted_kernels import Planted
from planted_kernels import profiled

from pytest_kgate.profile.insights.find import insights_of

MEASURED = json.loads(Path(__file__).with_name("measured-h100.json").read_text())


@pytest.mark.parametrize("planted", [one for one in PLANTED if one.name in MEASURED], ids=lambda one: one.name)
def test_each_planted_kernel_is_given_its_name_first(planted: Planted) -> None:
    counted = MEASURED[planted.name]
    metrics = {name: {"value": value, "unit": "", "raw": name} for name, value in counted["metrics"].items()}
    first, *_ = insights_of(
        profiled(planted, {"launches": [], "launch_count": counted["launches"], "metrics": metrics})
    )
    assert first["name"] == planted.finding, first["finding"]
