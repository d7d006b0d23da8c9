"""The host kernel takes the best instruction set that the processor has, at run time, and is right with each."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from pytest_kgate.build.kernel import load_kernel

pytestmark = pytest.mark.usefixtures("warm")

ISAS = ("avx512", "avx2", "portable")
NOT_HERE = "the processor lacks this instruction set"

CHILD = """
import ctypes, json, sys
import torch
from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.problems.attention.problem import exact_attention

kernel = load_kernel("host")
library = ctypes.CDLL(str(kernel.build.path))
library.kgate_host_isa.restype = ctypes.c_char_p
errors = {}
for dtype in ("float32", "float16", "bfloat16") if library.kgate_host_isa() else ():
    for shape in ((1, 2, 65, 64), (2, 1, 130, 80), (1, 1, 33, 7), (1, 2, 1, 128)):
        for causal in (False, True):
            generator = torch.Generator().manual_seed(5)
            q, k, v = (torch.randn(shape, generator=generator).to(getattr(torch, dtype)) for _ in range(3))
            exact = exact_attention(q, k, v, is_causal=causal)
            error = (kernel(q, k, v, is_causal=causal).double() - exact).abs().nan_to_num(nan=float("inf")).max()
            errors[dtype] = max(errors.get(dtype, 0.0), float(error))
print(json.dumps({
    "isa": library.kgate_host_isa().decode(),
    "threads": library.kgate_host_threads(),
    "errors": errors,
}))
"""


def child(**environment):
    """What a fresh process reports: the library reads its environment once."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD], env=os.environ | environment, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module", autouse=True)
def built():
    load_kernel("host")


@pytest.mark.parametrize("isa", ISAS)
def test_host_kernel_is_right_with_each_instruction_set(isa):
    report = child(KGATE_HOST_ISA=isa)
    if isa != "portable" and not report["isa"]:
        pytest.skip(NOT_HERE)
    assert report["isa"] == isa
    tolerance = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}
    assert {dtype: error for dtype, error in report["errors"].items() if error > tolerance[dtype]} == {}
    assert set(report["errors"]) == set(tolerance)


def test_best_instruction_set_that_the_processor_has_is_taken():
    available = [isa for isa in ISAS if child(KGATE_HOST_ISA=isa)["isa"] == isa]
    assert child()["isa"] == available[0]
    assert available[-1] == "portable"


def test_threads_are_as_many_as_asked_for_or_as_processors():
    assert child(KGATE_HOST_THREADS="3")["threads"] == 3
    assert child()["threads"] == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("KGATE_HOST_ISA", "mmx", "KGATE_HOST_ISA is 'mmx', no instruction set of this processor."),
        ("KGATE_HOST_THREADS", "many", "KGATE_HOST_THREADS is 'many', not a number from 1 to 1024."),
    ],
)
def test_environment_that_asks_for_the_impossible_is_refused(variable, value, message):
    code = (
        "import torch; from pytest_kgate.build.kernel import load_kernel; q = torch.zeros(1, 1, 4, 4);"
        "load_kernel('host')(q, q.clone(), q.clone())"
    )
    environment = os.environ | {variable: value}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert message in done.stderr
