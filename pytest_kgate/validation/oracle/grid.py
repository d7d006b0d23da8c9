"""Run the check of answers over a grid of attention problems: it must pass right kernels and find all mutants.

Honest kernels answer a normal and a hard draw of every problem, between guard zones, and every element is compared.
Mutants cost ten times as much and depend on the size of a problem less than on its length, type and mask: each of
these meets one size, in turn, so that every size meets every length; from 2,048 rows on, it is one of two heads.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from pytest_kgate.bench.correctness.check import answer_of
from pytest_kgate.bench.correctness.comparison.draws import draws_of
from pytest_kgate.bench.correctness.comparison.outputs import Found
from pytest_kgate.bench.correctness.comparison.outputs import the_worst
from pytest_kgate.bench.correctness.problem_calls import reference_output
from pytest_kgate.bench.correctness.problem_calls import truth_of
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.bench.correctness.selftest import selftest
from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.build.registry import implementations
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import bind
from pytest_kgate.device.protocol import Device
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import KgateError
from pytest_kgate.integrity.guard_zones import GuardZones
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.shape import Shape
from pytest_kgate.problems.trees.fingerprint import Fingerprint
from pytest_kgate.statistics.gates import ErrorGate

LENGTHS = (1, 17, 63, 64, 65, 127, 128, 512, 1000, 1024, 2048, 4096, 8192)
HEAD_DIMS = (64, 80, 96, 128)
SIZES = ((1, 8), (4, 8), (8, 8), (1, 16), (4, 16), (8, 16))
"""Batch and heads."""

TOLERANCE: Mapping[str, float] = MappingProxyType({"float16": 2e-3, "bfloat16": 1.6e-2})

_DRAWS = 2
"""Draws a problem, of the check's five: one normal and one hard."""

_LONG = 2048
_FEW = (1, 2)
"""The size of the problems on which mutants of long sequences are judged: two heads, so that they can be swapped."""

_MATH_UP_TO = 1024
"""PyTorch's own `math` backend keeps all scores: 34 GB of them at 128 heads of 8,192 rows."""

_REFERENCE = "flash"

Kernel = Callable[..., Any]


@dataclass(frozen=True)
class GridCell:
    """The results on all problems of one dtype, head dimension and length."""

    dtype: str
    head_dim: int
    seqlen: int
    answers: int
    """Of honest kernels, compared with the exact ones."""
    accused: tuple[str, ...]
    """Right kernels that the check found wrong: on which problem, and why."""
    nearest: float
    """The largest share of what is allowed that an honest kernel's error took, of any check."""
    died: int
    """Mutants that the check found."""
    lived: tuple[str, ...]
    """Mutants that the check let pass: on which problem."""
    seconds: float


def part(device: Device, kernels: Mapping[str, Kernel], dtype: str, head_dim: int, seqlen: int, seed: int) -> GridCell:
    """Judge all problems of one type, head dimension and length."""
    start = time.perf_counter()
    answers, died, nearest = 0, 0, 0.0
    accused: list[str] = []
    lived: list[str] = []
    for size, causal in itertools.product(SIZES, (False, True)):
        problem = sdpa_problem(Shape(*size, seqlen, head_dim, causal), dtype)
        for name, share, reason in honest_answers(device, problem, kernels, _reference(problem), seed):
            answers += 1
            nearest = max(nearest, share)
            if reason:
                accused.append(f"{name} on {problem.name}: {reason}")
    for causal in (False, True):
        size = size_for_mutants(dtype, head_dim, seqlen, causal=causal)
        problem = sdpa_problem(Shape(*size, seqlen, head_dim, causal), dtype)
        result = selftest(device, problem, _reference(problem), ErrorGate(TOLERANCE[dtype]), seed)
        died += result.killed
        lived += [f"{name} on {problem.name}" for name in result.lived]
        accused += [f"{_REFERENCE} on {problem.name}: {result.honest}"] * bool(result.honest)
    return GridCell(
        dtype, head_dim, seqlen, answers, tuple(accused), nearest, died, tuple(lived), time.perf_counter() - start
    )


def parts(dtypes: Sequence[str], head_dims: Sequence[int], lengths: Sequence[int]) -> Iterator[tuple[str, int, int]]:
    """All combinations of dtype, head dimension and length, long sequences last."""
    for seqlen, dtype, head_dim in itertools.product(lengths, dtypes, head_dims):
        yield dtype, head_dim, seqlen


def size_for_mutants(dtype: str, head_dim: int, seqlen: int, *, causal: bool) -> tuple[int, int]:
    """Batch and heads of the problem on which mutants are judged."""
    if seqlen >= _LONG:
        return _FEW
    turn = 4 * list(TOLERANCE).index(dtype) + HEAD_DIMS.index(head_dim) + LENGTHS.index(seqlen) + 3 * causal
    return SIZES[turn % len(SIZES)]


_OF_EIGHT_BITS = ("fp8",)
"""Shipped kernels that take no 16-bit elements, which are all that PyTorch's attention and the mutants have here."""


def honest_kernels(device: Device) -> tuple[dict[str, Kernel], dict[str, str]]:
    """Shipped kernels for this kind of device and PyTorch's, by name; and why others are not among them."""
    problem = sdpa_problem(Shape(1, 1, 1, 64))
    found: dict[str, Kernel] = {f"sdpa {name}": kernel for name, kernel in _backends(problem).items()}
    missing = {}
    for name, one in implementations().items():
        if (one.status, one.device_kind) != ("ready", device.kind):
            continue
        if name in _OF_EIGHT_BITS:
            missing[name] = f"{name} takes 8-bit elements alone, of which there are none here"
            continue
        try:
            found[name] = load_kernel(name)
        except KgateError as error:
            missing[name] = error.what
    return found, missing


def _reference(problem: Problem) -> Any:
    return bind("reference", _backends(problem)[_REFERENCE], problem.params)


def _backends(problem: Problem) -> Mapping[str, Kernel]:
    assert isinstance(problem.reference, Mapping)
    return problem.reference


def honest_answers(
    device: Device, problem: Problem, kernels: Mapping[str, Kernel], reference: Arm, seed: int
) -> Iterator[tuple[str, float, str]]:
    """For each kernel and draw: its name, the share that its error takes of what is allowed, and what is wrong."""
    gate = ErrorGate(TOLERANCE[str(problem.dtype)])
    like = reference_output(device, problem, reference)
    zones = GuardZones(device)
    guarded = zones.problem(problem)
    for kind, draw_seed in list(draws_of(seed))[:_DRAWS]:
        workload = workload_of(guarded, device, like, hard=kind == "hard")
        with device.running("checking honest kernels"):
            inputs = workload.draw(draw_seed)
            before = Fingerprint(inputs)
            truth = truth_of(problem, reference, inputs, like)
            for name, kernel in kernels.items():
                if not _takes(name, kernel, problem, inputs):
                    continue
                try:
                    arm = zones.arm(bind("candidate", kernel, problem.params))
                    answer = answer_of(device, workload, arm, inputs, like, before)
                except CandidateError as error:
                    yield name, 0.0, error.what
                    continue
                found = truth.judge(answer, gate)
                yield name, max(map(_share, found)), the_worst(found).comparison.reason


def _takes(name: str, kernel: Kernel, problem: Problem, inputs: tuple[Any, ...]) -> bool:
    """Whether a backend of PyTorch takes this problem: some refuse some lengths and head dimensions."""
    if not name.startswith("sdpa "):
        return True
    assert problem.shape is not None
    if name == "sdpa math" and problem.shape.seqlen > _MATH_UP_TO:
        return False
    try:
        kernel(*inputs, **problem.params)
    except RuntimeError:
        return False
    return True


def _share(found: Found) -> float:
    """The share of what is allowed that the error takes, of whichever check is nearest to its limit; 1 is the limit."""
    one, limits = found.comparison, found.limits
    beyond = 1 + one.excess / limits.atol
    return max(beyond, one.rms_error / (limits.factor * found.truth.baseline), one.row_excess)


def run(
    device: Device,
    dtypes: Sequence[str],
    head_dims: Sequence[int],
    lengths: Sequence[int],
    seed: int,
    progress: Callable[[GridCell], None],
) -> tuple[list[GridCell], list[str], dict[str, str]]:
    """Judge all parts of the grid in turn; returns them, the kernels' names, and why others could not take part."""
    kernels, missing = honest_kernels(device)
    outcomes = []
    for dtype, head_dim, seqlen in parts(dtypes, head_dims, lengths):
        outcomes.append(part(device, kernels, dtype, head_dim, seqlen, seed))
        progress(outcomes[-1])
        if device.kind == "cuda":
            torch.cuda.empty_cache()
    return outcomes, list(kernels), missing
