"""Every rung of csrc beside the fastest SDPA, on a small problem and a large one, measured and counted.

`fp8` computes the same problems of 8-bit elements, and is raced against SDPA of the same values in bfloat16. `decode`
is made for few queries: it computes both problems, in blocks of 16 rows that each read all keys, and is measured on
their decoding steps too, of one query to as many keys.

On a GPU whose counters may be read, with the rates of the roofline measured first:
`kgate roofline && pytest -m perf benchmarks/profile --kgate-profile --kgate-json benchmarks/<gpu>/profile-<date>.json`
"""

from __future__ import annotations

import pytest

from pytest_kgate import Shape
from pytest_kgate.build.registry import implementations

RUNGS = [one.name for one in implementations().values() if one.device_kind == "cuda" and one.status == "ready"]
DTYPES = {"fp8": "float8_e4m3fn"}


@pytest.mark.perf(budget=3)
@pytest.mark.parametrize("shape", [Shape(1, 8, 512, 64), Shape(2, 8, 2048, 128)])
@pytest.mark.parametrize("rung", RUNGS)
def test_rung(kbench, sdpa_oracle, kernels, rung, shape):
    kbench(kernels(rung), sdpa_oracle(shape, dtype=DTYPES.get(rung, "float16")))


@pytest.mark.perf(budget=3)
@pytest.mark.parametrize("shape", [Shape(1, 8, 1, 64, kv_seqlen=512), Shape(2, 8, 1, 128, kv_seqlen=2048)])
def test_decoding_step(kbench, sdpa_oracle, kernels, shape):
    kbench(kernels("decode"), sdpa_oracle(shape))
