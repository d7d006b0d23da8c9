"""Choose the reference that a candidate is raced against: the fastest of a problem's references on this device."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytest_kgate.bench.correctness.check import workload_of
from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import bind
from pytest_kgate.device.protocol import Device
from pytest_kgate.errors import KgateError
from pytest_kgate.integrity.side_effects.placement import placed
from pytest_kgate.problems.problem import Problem

_ROUNDS = 3
_SAMPLES = 4
"""Enough to tell backends apart that differ by a few percent; nearer ones may be taken for each other."""

_BOOK = SeedBook(0)
"""The same seeds every time. They need not be secret: no candidate takes part when references are timed."""


@dataclass(frozen=True)
class Reference:
    """The reference chosen for a problem, with the latencies of the others and why some did not run."""

    arm: Arm
    name: str
    backend: str | None
    """Its name among the problem's references; None where the problem has just one callable."""
    choices: Mapping[str, float]
    """Median seconds of every reference that ran, by name."""
    refused: Mapping[str, str]
    """Why the others did not run."""


class ReferencePicker:
    """Picks each problem's reference; remembers its choices, so that a session times a problem's references once."""

    def __init__(self) -> None:
        self._chosen: dict[tuple[Any, ...], Reference] = {}

    def pick(self, problem: Problem, device: Device, timer: str, cache: str) -> Reference:
        """The problem's one reference, or the fastest of several; raises `KgateError` where none runs."""
        if not isinstance(problem.reference, Mapping):
            name = getattr(problem.reference, "__name__", type(problem.reference).__name__)
            return Reference(bind("reference", problem.reference, problem.params), name, None, {}, {})
        key = (problem.name, tuple(problem.reference), device.torch_device, timer, cache)
        if key not in self._chosen:
            self._chosen[key] = _fastest(problem, problem.reference, device, timer, cache)
        return self._chosen[key]


def _fastest(
    problem: Problem, references: Mapping[str, Callable[..., Any]], device: Device, timer: str, cache: str
) -> Reference:
    arms: dict[str, Arm] = {}
    seconds: dict[str, float] = {}
    refused: dict[str, str] = {}
    workload = workload_of(problem, device)
    for name, function in references.items():
        arm = bind("reference", function, problem.params)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch explains at length why a backend does not apply
                with device.running(f"trying the {name} reference"):
                    arm.call(workload.draw(0), None)
                device.synchronize()
        except Exception as error:
            refused[name] = (str(error) or type(error).__name__).splitlines()[0]
            continue
        arms[name] = arm
    if not arms:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items()) or "it names none"
        raise KgateError(
            f"None of the references of {problem.name} runs on {device.torch_device} ({reasons}).",
            "Choose another dtype or shape, or sdpa_oracle(shape, backend=...)."
            if problem.shape
            else "Give Problem(reference=...) one that runs there.",
        )
    if len(arms) > 1:
        for name, arm in arms.items():
            seconds[name] = _median_seconds(arm, problem, device, timer, cache)
    best = min(seconds, key=lambda name: seconds[name]) if seconds else next(iter(arms))
    return Reference(arms[best], problem.name.split()[0], best, seconds, refused)


def _median_seconds(arm: Arm, problem: Problem, device: Device, timer: str, cache: str) -> float:
    workload = workload_of(problem, device)
    with placed(device, [arm], workload, _BOOK.numbered(Stream.PLACEMENT_VALUES)):
        stopwatch = device.stopwatch((arm, arm), workload, timer=timer, cache=cache)
        try:
            order = np.repeat(np.arange(2), _SAMPLES)
            rounds = [stopwatch.round(_BOOK.reference_round(number), order) for number in range(_ROUNDS)]
        finally:
            stopwatch.close()
    return float(np.median([one.seconds for one in rounds]))
