"""Debug builds of the shipped kernels: no device assert fires on honest inputs, and the answer is the same."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate import Shape
from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.build.registry import implementations
from pytest_kgate.errors import LibraryMissing
from pytest_kgate.problems.attention.problem import sdpa_problem

CUDA = [name for name, entry in implementations().items() if entry.device_kind == "cuda" and entry.status == "ready"]


@pytest.mark.gpu(alone=False)
@pytest.mark.parametrize(
    ("impl", "dtype"),
    [(impl, dtype) for impl in CUDA if impl != "fp8" for dtype in ("float16", "bfloat16")] + [("fp8", "float8_e4m3fn")],
)
def test_asserts_hold_on_normal_and_on_sharp_inputs(impl, dtype):
    try:
        release, debug = load_kernel(impl), load_kernel(impl, debug=True)
    except LibraryMissing as missing:
        pytest.skip(str(missing))
    for shape in (Shape(1, 2, 1, 64), Shape(2, 3, 67, 64, causal=True), Shape(1, 2, 1000, 128, causal=True)):
        problem = sdpa_problem(shape, dtype)
        for draw in (problem.inputs, problem.hard_inputs):
            inputs = draw(torch.Generator("cuda").manual_seed(1))
            answer = debug(*inputs, is_causal=shape.causal)
            torch.cuda.synchronize()
            torch.testing.assert_close(answer, release(*inputs, is_causal=shape.causal))
