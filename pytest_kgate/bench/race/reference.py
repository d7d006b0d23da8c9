"""Choose the reference that a candidate is raced against: the fastest of a problem's references on this device."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from pytest_kgate.bench.correctness.problem_calls import reference_output
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import bind
from pytest_kgate.device.arm import prepare
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import ProblemError
from pytest_kgate.errors import UsageError
from pytest_kgate.integrity.side_effects.placement import placed
from pytest_kgate.problems.backward import Backward
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.trees.foreign import attribute
from pytest_kgate.problems.trees.foreign import str_of

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import ReferenceFacts

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
    left_out: tuple[str, ...] = ()
    """Of those, the user's own: PyTorch's backends of attention need not apply."""

    @property
    def warnings(self) -> list[str]:
        """A sentence on each reference that was to be beaten, and was not raced."""
        return [f"the candidate was not raced against {one}: {self.refused[one].rstrip('.')}" for one in self.left_out]

    def to_dict(self) -> ReferenceFacts:
        """The choice in built-in types, for the record."""
        return {
            "name": self.name,
            "backend": self.backend,
            "choices": dict(self.choices),
            "refused": dict(self.refused),
        }


@dataclass(frozen=True)
class _Choice:
    """What was chosen for a problem. It keeps neither the problem nor its references alive."""

    parts: tuple[Callable[[], Any], ...]
    """Handles of what the problem is made of, as `_parts` names it."""
    setting: tuple[str, str, str]
    """Device, timer and cache of the short race."""
    backend: str
    choices: Mapping[str, float]
    refused: Mapping[str, str]

    def fits(self, problem: Problem, setting: tuple[str, str, str]) -> bool:
        """Whether it was made for a problem of the same parts."""
        parts = _parts(problem)
        return (
            setting == self.setting
            and len(parts) == len(self.parts)
            and all(handle() is part for handle, part in zip(self.parts, parts, strict=True))
        )

    def reference_of(self, problem: Problem) -> Reference:
        """The chosen one of this problem's references."""
        assert isinstance(problem.reference, Mapping)
        arm = bind("reference", problem.reference[self.backend], problem.params, problem.mutates)
        name = (problem.name.split() or [self.backend])[0]
        left_out = tuple(name for name in self.refused if not _is_attentions(problem.reference[name]))
        return Reference(arm, name, self.backend, self.choices, self.refused, left_out)


class ReferencePicker:
    """Remembers its choices, so that a session races the references of a problem once.

    A problem is what it is made of, whatever its name: inputs, references and params.
    """

    def __init__(self) -> None:
        self._chosen: list[_Choice] = []

    def pick(self, problem: Problem, device: Device, timer: str, cache: str) -> Reference:
        """The problem's one reference, or the fastest of several; raises `KgateError` where none runs."""
        if not isinstance(problem.reference, Mapping):
            name = attribute(problem.reference, "__name__", str) or type(problem.reference).__name__
            return Reference(bind("reference", problem.reference, problem.params, problem.mutates), name, None, {}, {})
        setting = (device.torch_device, timer, cache)
        known = next((one for one in self._chosen if one.fits(problem, setting)), None)
        if known is None:
            known = _fastest(problem, problem.reference, device, timer, cache)
            self._chosen.append(known)
        return known.reference_of(problem)


def _is_attentions(reference: Callable[..., Any]) -> bool:
    """Whether this is one of those, or its backward pass, that `sdpa_oracle` offers."""
    reference = reference.forward if isinstance(reference, Backward) else reference
    return (attribute(reference, "__module__", str) or "").startswith("pytest_kgate.problems.attention.")


def _parts(problem: Problem) -> tuple[Any, ...]:
    assert isinstance(problem.reference, Mapping)
    named = (part for item in (*problem.reference.items(), *problem.params.items()) for part in item)
    return (problem.inputs, *named)


def _handle(part: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(part)
    except TypeError:  # a number, a string
        return lambda: part


def _fastest(
    problem: Problem, references: Mapping[str, Callable[..., Any]], device: Device, timer: str, cache: str
) -> _Choice:
    arms: dict[str, Arm] = {}
    seconds: dict[str, float] = {}
    refused: dict[str, str] = {}
    outputs: dict[str, Any] = {}
    for name, function in references.items():
        arm = bind("reference", function, problem.params, problem.mutates)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch explains at length why a backend does not apply
                outputs[name] = reference_output(device, problem, arm)
        except (ProblemError, UsageError):
            raise
        except Exception as error:
            refused[name] = (str_of(error).strip() or type(error).__name__).splitlines()[0]
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
            seconds[name] = _median_seconds(arm, workload_of(problem, device, outputs[name]), device, timer, cache)
    best = min(seconds, key=lambda name: seconds[name]) if seconds else next(iter(arms))
    parts = tuple(_handle(part) for part in _parts(problem))
    return _Choice(parts, (device.torch_device, timer, cache), best, seconds, refused)


def _median_seconds(arm: Arm, workload: Workload, device: Device, timer: str, cache: str) -> float:
    with placed(device, [arm], workload, _BOOK.numbered(Stream.PLACEMENT_VALUES)):
        stopwatch = device.stopwatch((arm, arm), workload, timer=timer, cache=cache)
        try:
            order = np.repeat(np.arange(2), _SAMPLES)
            rounds = [stopwatch.round(_BOOK.reference_round(number), order) for number in range(_ROUNDS)]
        finally:
            stopwatch.close()
            prepare([arm], [])
    return float(np.median([one.seconds for one in rounds]))
