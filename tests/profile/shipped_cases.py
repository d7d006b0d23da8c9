"""Every shipped CUDA kernel on small problems with tails, for compute-sanitizer; a file of tests, named by hand.

`kgate sanitize tests/profile/shipped_cases.py` runs all of them in one process a tool.
"""

from __future__ import annotations

import pytest

from pytest_kgate import Shape
from pytest_kgate.build.registry import implementations

CUDA = [name for name, entry in implementations().items() if entry.device_kind == "cuda" and entry.status == "ready"]
# 131, not 200: kernels that cuBLAS and cuTENSOR choose for lengths such as 200 let racecheck fail, even with none of
# ours beside them, and store in a way that initcheck does not see.
SHAPES = [Shape(1, 2, 67, 64), Shape(1, 2, 67, 64, causal=True), Shape(1, 1, 131, 128, causal=True)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("impl", CUDA)
def test_shipped(kbench, sdpa_oracle, kernels, impl, shape):
    kbench(kernels(impl), sdpa_oracle(shape, dtype="float8_e4m3fn" if impl == "fp8" else "float16"))
