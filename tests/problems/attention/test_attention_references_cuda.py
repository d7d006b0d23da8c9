"""On a GPU, all of PyTorch's ways to compute attention of every shape: each is right, and builds nothing when timed."""

from __future__ import annotations

import math
import warnings

import pytest
import torch

from pytest_kgate import Shape
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.build.registry import find_source
from pytest_kgate.device.arm import bind
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.validation.oracle import extents
from pytest_kgate.validation.oracle import grid
from tests.support.attention import EXTENTS

pytestmark = pytest.mark.gpu(alone=False)

TOLERANCE = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 1e-4}
"""In float32, what FlexAttention's tiles leave; TF32 is off unless a user has set it."""

LARGE = [
    Shape(2, 32, 1, 128, True, kv_heads=8, kv_seqlen=8192),
    Shape(1, 16, 4096, 128, True, kv_heads=4, window=1024),
    Shape(1, 8, 1000, 64, True, kv_seqlen=3000),
    Shape(1, 8, 2048, 128, True, softcap=50),
]


@pytest.fixture(scope="module")
def device():
    from pytest_kgate.device.cuda.device import CudaDevice

    return CudaDevice(0)


def demanded(shape, dtype):
    """Those that must run on any GPU from Ampere on, whatever else does."""
    names = {"math"}
    if shape.softcap is None and shape.bias is None:
        names.add("efficient" if dtype == "float32" else "flash")
    masked = shape.window is not None or shape.softcap is not None or shape.bias is not None
    if masked and dtype != "float32" and math.log2(shape.head_dim).is_integer():
        names.add("flex")
    return names


CASES = [
    *((shape, "float16", outputs) for shape in [*EXTENTS, *LARGE] for outputs in ("o", "o+lse")),
    *((shape, dtype, "o+lse") for shape in [*EXTENTS[::4], LARGE[0]] for dtype in ("bfloat16", "float32")),
]
"""flex_attention is compiled for each, in some ten seconds."""


@pytest.mark.parametrize(
    ("shape", "dtype", "outputs"), CASES, ids=[f"{shape}-{dtype}-{outputs}" for shape, dtype, outputs in CASES]
)
def test_every_reference_that_runs_is_right_and_can_be_captured(device, shape, dtype, outputs):
    problem = sdpa_problem(shape, dtype, outputs=outputs)
    standard = bind("reference", problem.reference["math"], problem.params)
    ran, refused = set(), {}
    for name, function in problem.reference.items():
        arm = bind("reference", function, problem.params)
        inputs = problem.inputs(torch.Generator("cuda").manual_seed(1))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                arm.call(inputs, None)
            torch.cuda.synchronize()
        except RuntimeError as error:
            refused[name] = str(error).splitlines()[0]
            continue
        ran.add(name)
        result = check(device, problem, arm, standard, ErrorGate(TOLERANCE[dtype]), 42)
        assert result.verdict is Verdict.PASS, (name, result.reason)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):  # what copies from the host, or waits for it, can't be captured
            arm.call(inputs, None)
    assert demanded(shape, dtype) <= ran, refused


@pytest.mark.parametrize("chosen", extents.subsample(42)[::4], ids=lambda one: extents.problem_of(one).name)
def test_mutants_of_other_extents_die_and_honest_kernels_live(device, chosen):
    demand_right_verdicts(device, chosen)


@pytest.mark.grid
@pytest.mark.parametrize("seed", [42, 43])
def test_mutants_of_other_extents_die_and_honest_kernels_live_on_the_whole_subsample(device, seed):
    for chosen in extents.subsample(seed):
        demand_right_verdicts(device, chosen)


@pytest.mark.grid
def test_kernels_take_each_extent_by_itself_that_they_declare_and_refuse_the_others_in_words(device):
    declared = {name: set(find_source(name).features) for name in SIXTEEN_BITS}
    for chosen in extents.alone():
        found = demand_right_verdicts(device, chosen)
        refused = dict(told.split(": ", 1) for told in found.refused if not told.startswith("sdpa "))
        asked = {need for need, is_so in needs(chosen).items() if is_so}
        for name in SIXTEEN_BITS & grid.honest_kernels(device)[0].keys():
            grouped = {"GroupedHeads"} if "SharedHeads" in declared[name] else set()
            missing = asked - declared[name] - grouped
            assert (name in refused) == bool(missing), (found.problem, name, refused.get(name))
            assert not missing or "can't be asked for" in refused[name]


SIXTEEN_BITS = {"custom_v3", "wmma", "mma", "cublas", "cutensor", "hybrid_qkt", "hybrid_pv", "hopper", "latency"}
"""Rungs for any number of queries."""


def needs(chosen):
    """The features of sdpa.h that a problem asks for."""
    (rows, keys), (heads, key_heads) = chosen["rows x keys"], chosen["heads"]
    return {
        "GroupedHeads": heads != key_heads,
        "KvSeqlen": rows != keys,
        "Window": chosen["window"] is not None,
        "Softcap": chosen["softcap"] is not None,
        "Bias": chosen["bias"] is not None,
        "Lse": chosen["outputs"] == "o+lse",
    }


def demand_right_verdicts(device, chosen):
    kernels = {name: one for name, one in grid.honest_kernels(device)[0].items() if not name.startswith("sdpa ")}
    found = extents.cell(device, chosen, kernels, 42)
    assert (found.accused, found.lived) == ((), ())
    assert found.died >= 20
    assert found.answers >= 2 * 2
    return found
