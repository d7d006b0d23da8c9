"""Every rung measured at the mission's shape, and rungs raced against themselves; `rungs.py` runs both."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

import pytest

from pytest_kgate import Shape
from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.build.registry import implementations

if TYPE_CHECKING:
    from pytest_kgate import Kbench
    from pytest_kgate import Kernels
    from pytest_kgate import SdpaOracle

RUNGS = [one.name for one in implementations().values() if one.device_kind == "cuda" and one.status == "ready"]

MISSION = Shape(1, 8, 512, 64)

OTHERS = {
    "fp8": (Shape(2, 8, 2048, 128), "float8_e4m3fn"),
    "decode": (Shape(8, 32, 1, 128, kv_heads=8, kv_seqlen=8192), "float16"),
}
"""Those that do not take the mission's shape or type."""

EQUAL = os.environ.get("KGATE_EQUAL", "latency").split(",")

NUMBERS = range(int(os.environ.get("KGATE_FIRST", "0")), int(os.environ.get("KGATE_END", "1")))


@pytest.mark.perf(budget=5)
@pytest.mark.parametrize("rung", RUNGS)
def test_rung(kbench: Kbench, kernels: Kernels, sdpa_oracle: SdpaOracle, rung: str) -> None:
    shape, dtype = OTHERS.get(rung, (MISSION, "float16"))
    kbench(kernels(rung), sdpa_oracle(shape, dtype=dtype))


@pytest.mark.perf(budget=3)
@pytest.mark.speedup(1.0)
@pytest.mark.parametrize("rung", EQUAL)
@pytest.mark.parametrize("number", NUMBERS)
def test_equal(kbench: Kbench, kernels: Kernels, sdpa_oracle: SdpaOracle, rung: str, number: int) -> None:
    problem = sdpa_oracle(MISSION)
    kbench(kernels(rung), dataclasses.replace(problem, reference={"itself": load_kernel(rung)}))
