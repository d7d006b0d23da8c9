"""The whole grid on a GPU: every mutant of attention dies, no honest kernel does, and the question costs little."""

from __future__ import annotations

import time

import pytest
import torch

from pytest_kgate import Shape
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.device.arm import bind
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.validation.oracle import grid

pytestmark = pytest.mark.gpu

SHORT = (1, 17, 64, 127, 1000)
"""What runs by default, with one head dimension a type; all of it: `pytest tests/mutants -m grid`."""


@pytest.fixture(scope="module")
def device():
    from pytest_kgate.device.cuda.device import CudaDevice

    return CudaDevice(0)


@pytest.fixture(scope="module")
def kernels(device):
    return grid.honest_kernels(device)[0]


def demand_right_verdicts(device, kernels, dtype, head_dim, seqlen):
    found = grid.part(device, kernels, dtype, head_dim, seqlen, 42)
    assert found.accused == ()
    assert found.lived == ()
    assert found.died >= 15
    assert found.answers >= 2 * 2 * len(grid.SIZES) * (len(kernels) - 3)  # PyTorch's backends may refuse


@pytest.mark.parametrize("seqlen", SHORT)
@pytest.mark.parametrize(("dtype", "head_dim"), [("float16", 80), ("bfloat16", 128)])
def test_mutants_die_and_honest_kernels_live(device, kernels, dtype, head_dim, seqlen):
    demand_right_verdicts(device, kernels, dtype, head_dim, seqlen)


@pytest.mark.grid
@pytest.mark.parametrize("seqlen", grid.LENGTHS)
@pytest.mark.parametrize("head_dim", grid.HEAD_DIMS)
@pytest.mark.parametrize("dtype", grid.TOLERANCE)
def test_mutants_die_and_honest_kernels_live_on_the_whole_grid(device, kernels, dtype, head_dim, seqlen):
    demand_right_verdicts(device, kernels, dtype, head_dim, seqlen)


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
    from pytest_kgate.bench.correctness.weakness import Survivors

    problem = sdpa_problem(shape)
    arm = bind("reference", problem.reference["flash"], problem.params)
    spent = []
    ask = Survivors.add

    def timed(self, truth):
        device.synchronize()
        start = time.perf_counter()
        ask(self, truth)
        device.synchronize()
        spent[-1] += time.perf_counter() - start

    monkeypatch.setattr(Survivors, "add", timed)
    whole = []
    for _ in range(5):
        spent.append(0.0)
        start = time.perf_counter()
        assert check(device, problem, arm, arm, ErrorGate(2e-3), 42).weak == ()
        whole.append(time.perf_counter() - start)
    print(f"{shape}: a check takes {min(whole) * 1e3:.3g} ms, of which the question {min(spent) * 1e3:.3g} ms")
    assert min(spent) < 0.6 * min(whole)
