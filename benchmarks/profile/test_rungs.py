"""Every rung of csrc beside the fastest SDPA, on a small problem and a large one, measured and counted.

On a GPU whose counters may be read:
`pytest -m perf benchmarks/profile --kgate-profile --kgate-json benchmarks/<gpu>/profile-<date>.json`
"""

from __future__ import annotations

import pytest

from pytest_kgate import Shape
from pytest_kgate.build.registry import implementations

RUNGS = [one.name for one in implementations().values() if one.device_kind == "cuda" and one.status == "ready"]


@pytest.mark.perf(budget=3)
@pytest.mark.parametrize("shape", [Shape(1, 8, 512, 64), Shape(2, 8, 2048, 128)])
@pytest.mark.parametrize("rung", RUNGS)
def test_rung(kbench, sdpa_oracle, kernels, rung, shape):
    kbench(kernels(rung), sdpa_oracle(shape))
