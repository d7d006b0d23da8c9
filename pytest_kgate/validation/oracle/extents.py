"""Run the check of answers over attention of other extents: grouped heads, decode, windows, caps, scales, biases, lse.

The whole product of the values below has tens of thousands of problems. A subsample of some dozens is run, drawn so
that every two values of two extents meet in one of them, where they can; another seed draws another one. Such problems
have several extents each, which kernels that know one or two of them all refuse. So there is a second list: plain
attention, each value by itself, and the few that such kernels take together.
"""

from __future__ import annotations

import itertools
import random
import time
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.bench.correctness.selftest import selftest
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import bind
from pytest_kgate.device.protocol import Device
from pytest_kgate.errors import KgateError
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.shape import Shape
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.validation.oracle.grid import TOLERANCE
from pytest_kgate.validation.oracle.grid import GridCell
from pytest_kgate.validation.oracle.grid import Kernel
from pytest_kgate.validation.oracle.grid import honest_answers

VALUES: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "rows x keys": ((128, 128), (512, 512), (65, 130), (300, 130), (1, 513), (1, 2000)),
        "heads": ((4, 4), (8, 2), (4, 1)),
        "head_dim": (64, 80, 96, 128),
        "causal": (False, True),
        "window": (None, 7, 100),
        "softcap": (None, 8.0, 50.0),
        "scale": (None, 0.3),
        "bias": (None, "shared", "heads", "full"),
        "outputs": ("o", "o+lse"),
        "batch": (1, 2),
        "dtype": tuple(TOLERANCE),
    }
)
"""Rows with keys, and heads with heads of keys, go together: most of their pairs would be alike."""

PLAIN: Mapping[str, Any] = MappingProxyType({name: of[0] for name, of in VALUES.items()})
"""The first value of each."""

TOGETHER: tuple[Mapping[str, Any], ...] = (
    {"rows x keys": (65, 130), "causal": True},
    {"rows x keys": (300, 130), "causal": True},
    {"rows x keys": (1, 2000), "heads": (8, 2)},
    {"rows x keys": (1, 2000), "heads": (8, 2), "outputs": "o+lse"},
    {"heads": (8, 2), "batch": 2, "causal": True},
    {"scale": 0.3, "causal": True},
)
"""Decode steps, chunks of a long prompt, and groups: what kernels of more than plain attention take at once."""

_TRIES = 60
"""Problems drawn for each that is taken: the one with the most pairs that have not met yet."""

_REFERENCES = ("flash", "efficient", "math")
"""Whose error sets what is allowed: the first that computes the problem on the device."""


@dataclass(frozen=True)
class ExtentsCell(GridCell):
    """The results on one problem."""

    problem: str
    """Its name."""
    values: tuple[str, ...]
    """Of each extent, as `VALUES` names it: `window 7`."""
    refused: tuple[str, ...]
    """Kernels that did not take it: which, and their sentence."""


def subsample(seed: int) -> list[dict[str, Any]]:
    """Problems in which every two values of two extents meet."""
    lots = random.Random(seed)
    left = {pair for one, other in itertools.combinations(VALUES, 2) for pair in _pairs_of(one, other)}
    found = []
    while left:
        first = lots.choice(sorted(left, key=repr))  # what has not met does in any case, so that this ends
        drawn = ({name: lots.choice(of) for name, of in VALUES.items()} | dict(first) for _ in range(_TRIES))
        best = max(drawn, key=lambda one: len(left & _met(one)))
        left -= _met(best)
        found.append(best)
    return found


def alone() -> list[dict[str, Any]]:
    """Plain attention; each other value with all else plain; and those that are taken together."""
    others = [{name: value} for name, of in VALUES.items() for value in of[1:]]
    return [{**PLAIN, **change} for change in ({}, *others, *TOGETHER)]


def away_from_plain(values: Sequence[str]) -> list[str]:
    """The values of a problem, as `ExtentsCell.values` has them, that are not plain attention's."""
    plain = _told(PLAIN)
    return [value for value in values if value not in plain]


def _pairs_of(one: str, other: str) -> Iterator[tuple[tuple[str, Any], tuple[str, Any]]]:
    return (((one, a), (other, b)) for a, b in itertools.product(VALUES[one], VALUES[other]))


def _met(chosen: Mapping[str, Any]) -> set[tuple[tuple[str, Any], tuple[str, Any]]]:
    return set(itertools.combinations(chosen.items(), 2))


def problem_of(chosen: Mapping[str, Any]) -> Problem:
    """The attention problem with these values of the extents."""
    (rows, keys), (heads, key_heads) = chosen["rows x keys"], chosen["heads"]
    shape = Shape(
        chosen["batch"],
        heads,
        rows,
        chosen["head_dim"],
        chosen["causal"],
        kv_heads=key_heads,
        kv_seqlen=keys,
        window=chosen["window"],
        softcap=chosen["softcap"],
        scale=chosen["scale"],
        bias=chosen["bias"],
    )
    return sdpa_problem(shape, chosen["dtype"], outputs=chosen["outputs"])


def cell(device: Device, chosen: Mapping[str, Any], shipped: Mapping[str, Kernel], seed: int) -> ExtentsCell:
    """Judge one problem: PyTorch's ways to compute it and the shipped kernels that take it, and all mutants."""
    start = time.perf_counter()
    problem = problem_of(chosen)
    assert problem.shape is not None
    assert isinstance(problem.reference, Mapping)
    kernels = {f"sdpa {name}": one for name, one in problem.reference.items()} | dict(shipped)
    refused = {name: told for name, one in kernels.items() if (told := refusal(device, problem, one))}
    honest = {name: one for name, one in kernels.items() if name not in refused}
    reference = _reference(problem, honest)
    answers, nearest = 0, 0.0
    accused: list[str] = []
    for name, share, reason in honest_answers(device, problem, honest, reference, seed):
        answers += 1
        nearest = max(nearest, share)
        if reason:
            accused.append(f"{name} on {problem.name}: {reason}")
    result = selftest(device, problem, reference, ErrorGate(TOLERANCE[chosen["dtype"]]), seed)
    return ExtentsCell(
        dtype=chosen["dtype"],
        head_dim=problem.shape.head_dim,
        seqlen=problem.shape.seqlen,
        answers=answers,
        accused=tuple(accused + [f"reference on {problem.name}: {result.honest}"] * bool(result.honest)),
        nearest=nearest,
        died=result.killed,
        lived=tuple(f"{name} on {problem.name}" for name in result.lived),
        seconds=time.perf_counter() - start,
        problem=problem.name,
        values=_told(chosen),
        refused=tuple(f"{name}: {told}" for name, told in refused.items()),
    )


def _told(chosen: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{name} {_shown(value)}" for name, value in chosen.items())


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " x ".join(map(str, value))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def refusal(device: Device, problem: Problem, kernel: Kernel) -> str:
    """Why a kernel does not take the problem, in a line; empty where it does."""
    arm = bind("candidate", kernel, problem.params)
    if arm.ignored_params:
        return f"it has no parameter {', '.join(arm.ignored_params)}"
    with device.running("asking which kernels take the problem"):
        inputs = workload_of(problem, device).draw(0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch explains at length why a backend does not apply
                arm.call(inputs, None)
            device.synchronize()
        except KgateError as error:
            return error.what
        except Exception as error:
            return (str(error) or type(error).__name__).splitlines()[0]
    return ""


def _reference(problem: Problem, honest: Mapping[str, Kernel]) -> Arm:
    name = next(one for one in _REFERENCES if f"sdpa {one}" in honest)
    return bind("reference", honest[f"sdpa {name}"], problem.params)


def run(
    device: Device,
    problems: Sequence[Mapping[str, Any]],
    shipped: Mapping[str, Kernel],
    seed: int,
    progress: Callable[[ExtentsCell], None],
) -> list[ExtentsCell]:
    """Judge these problems, of `subsample` or `alone`."""
    outcomes = []
    for chosen in problems:
        outcomes.append(cell(device, chosen, shipped, seed))
        progress(outcomes[-1])
    return outcomes
