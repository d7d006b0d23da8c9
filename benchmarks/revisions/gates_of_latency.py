"""`latency` raced against another revision of itself, as often as KGATE_GATES says; see measure.sh."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_kgate import Shape

if TYPE_CHECKING:
    from pytest_kgate import Kbench
    from pytest_kgate import Kernels
    from pytest_kgate import SdpaOracle


@pytest.mark.perf(budget=3)
@pytest.mark.speedup(0.95)
@pytest.mark.regression(margin=0.01)
@pytest.mark.parametrize("number", range(int(os.environ.get("KGATE_GATES", "1"))))
def test_latency(kbench: Kbench, kernels: Kernels, sdpa_oracle: SdpaOracle, number: int) -> None:
    kbench(kernels("latency"), sdpa_oracle(Shape(1, 8, 512, 64)))
