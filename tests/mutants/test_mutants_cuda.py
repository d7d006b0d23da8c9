"""The whole grid on a GPU: every mutant of attention dies, no honest kernel does, and the question costs little."""

from __future__ import annotations

import dataclasses
import time

import pytest
import torch

from pytest_kgate import Shape
from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.build.registry import implementations
from pytest_kgate.calling import bind
from pytest_kgate.gate import ErrorGate
from pytest_kgate.gate import Verdict
from pytest_kgate.mutants.selftest import KILLED
from pytest_kgate.mutants.selftest import LIVED
from pytest_kgate.mutants.selftest import selftest
from pytest_kgate.oracle import check
from pytest_kgate.sdpa import sdpa_problem

pytestmark = pytest.mark.gpu

TOLERANCE = {"float16": 2e-3, "bfloat16": 1.6e-2}
LENGTHS = (1, 17, 63, 64, 65, 127, 128, 512, 1000, 1024, 2048, 4096, 8192)
BATCHES = [(1, 8), (4, 8), (8, 8), (1, 16), (4, 16), (8, 16)]
READY = [name for name, one in implementations().items() if (one.status, one.device_kind) == ("ready", "cuda")]


@pytest.fixture(scope="module")
def device():
    from pytest_kgate.device.cuda import CudaDevice

    return CudaDevice(0)


def honest_kernels(problem):
    """Shipped kernels and PyTorch's, by name; the math backend only where its scores fit."""
    backends = dict(problem.reference)
    if problem.shape.seqlen > 1024:
        del backends["math"]
    kernels = {f"honest {name}": kernel for name, kernel in backends.items() if runs(kernel, problem)}
    return kernels | {f"honest {name}": load_kernel(name) for name in READY}


def runs(kernel, problem):
    inputs = problem.inputs(torch.Generator("cuda").manual_seed(0))
    try:
        kernel(*inputs, **problem.params)
    except RuntimeError:  # how PyTorch says that a backend does not take this shape
        return False
    return True


@pytest.mark.parametrize("seqlen", LENGTHS)
@pytest.mark.parametrize("head_dim", [64, 80, 96, 128])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_mutants_die_and_honest_kernels_live_over_the_grid(device, dtype, head_dim, seqlen):
    wrong = []
    for batch, heads in BATCHES:
        for causal in (False, True):
            problem = sdpa_problem(Shape(batch, heads, seqlen, head_dim, causal), dtype)
            honest = honest_kernels(problem)
            assert len(honest) > len(READY)
            both = dataclasses.replace(problem, mutants={**problem.mutants, **honest})
            reference = bind("reference", problem.reference["flash"], problem.params)
            result = selftest(device, both, reference, ErrorGate(TOLERANCE[dtype]), 42)
            assert result.honest == ""
            wrong += [
                (problem.name, fate)
                for fate in result.fates
                if fate.outcome == (KILLED if fate.name in honest else LIVED)
            ]
            torch.cuda.empty_cache()
    assert not wrong


@pytest.mark.parametrize("seed", range(5))
def test_memory_that_the_reference_has_freed_is_no_answer(device, seed):
    problem = sdpa_problem(Shape(1, 8, 512, 64))
    reference = bind("reference", problem.reference["flash"], problem.params)
    for _ in range(3):  # the allocator's blocks hold answers of earlier checks
        assert check(device, problem, reference, reference, None, seed).verdict is Verdict.PASS
        stale = bind("candidate", lambda query, key, value: torch.empty_like(query), problem.params)
        assert check(device, problem, stale, reference, None, seed).verdict is Verdict.FAIL


@pytest.mark.parametrize("shape", [Shape(1, 8, 512, 64), Shape(1, 8, 2048, 128, causal=True)], ids=str)
def test_asking_what_the_check_lets_pass_takes_a_small_part_of_it(device, monkeypatch, shape):
    from pytest_kgate import oracle

    problem = sdpa_problem(shape)
    arm = bind("reference", problem.reference["flash"], problem.params)
    spent = []
    ask = oracle.living

    def timed(truths, gate):
        device.synchronize()
        start = time.perf_counter()
        result = list(ask(truths, gate))
        device.synchronize()
        spent.append(time.perf_counter() - start)
        return result

    monkeypatch.setattr(oracle, "living", timed)
    whole = []
    for _ in range(5):
        start = time.perf_counter()
        assert check(device, problem, arm, arm, ErrorGate(2e-3), 42).weak == ()
        whole.append(time.perf_counter() - start)
    print(f"{shape}: a check takes {min(whole) * 1e3:.3g} ms, of which the question {min(spent) * 1e3:.3g} ms")
    assert min(spent) < 0.6 * min(whole)
