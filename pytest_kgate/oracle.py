"""Whether the candidate is right: its answers on several draws against the exact answer in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator
from torch import Tensor

from pytest_kgate.calling import as_answer
from pytest_kgate.calling import blame
from pytest_kgate.device.base import Arm
from pytest_kgate.device.base import Device
from pytest_kgate.device.base import Workload
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import UsageError
from pytest_kgate.gate import ErrorGate
from pytest_kgate.gate import Verdict
from pytest_kgate.problem import Problem

DRAWS = ("normal", "hard", "normal", "hard", "normal")
"""Five draws. Normal inputs are what users run; hard ones are those on which a wrong kernel shows."""

CALLED = "it is called as candidate(*inputs, **params), with `out` where it takes one"

_DEFAULT_FACTOR = 4.0
"""Without an `allclose` marker, the candidate may be this many times as far off as the reference: enough for another
order of summation, far too little for a wrong answer."""


@dataclass(frozen=True)
class Draw:
    """One comparison with the exact answer."""

    kind: str
    seed: int
    candidate_error: float
    """max |candidate - exact|; infinite where the candidate wrote NaN or Inf."""
    reference_error: float
    output_rms: float
    """Root mean square of the exact answer: what an error must be small against."""
    excess: float
    """max of |candidate - exact| - (atol + rtol |exact|); positive is too far off."""


@dataclass(frozen=True)
class Correctness:
    """The outcome of all draws."""

    verdict: Verdict
    reason: str
    atol: float
    rtol: float
    default_tolerance: bool
    draws: tuple[Draw, ...]
    like: Tensor
    """An output of the reference, unfilled: the shape, dtype and device of an answer."""
    worst: dict[str, Any] | None
    """Where the candidate is furthest off: `index`, `candidate`, `exact`, `kind`, `seed`, `wrong_fraction`."""

    @property
    def candidate_error(self) -> float:
        """The largest over all draws."""
        return max(draw.candidate_error for draw in self.draws)

    @property
    def reference_error(self) -> float:
        """The largest over all draws."""
        return max(draw.reference_error for draw in self.draws)

    def to_dict(self) -> dict[str, Any]:
        """Built-in types, for the record; infinite errors become None, which JSON has a word for."""
        return {
            "verdict": self.verdict.value,
            "reason": self.reason,
            "atol": self.atol,
            "rtol": self.rtol,
            "default_tolerance": self.default_tolerance,
            "draws": [{key: _finite(value) for key, value in asdict(draw).items()} for draw in self.draws],
            "candidate_error": _finite(self.candidate_error),
            "reference_error": _finite(self.reference_error),
            "worst": self.worst,
        }


def workload_of(problem: Problem, device: Device, like: Tensor | None = None, *, hard: bool = False) -> Workload:
    """Fresh inputs by seed and poisoned outputs on the device; `like` is an output of the reference."""
    draw_from: Callable[[Generator], tuple[Tensor, ...]] = (
        problem.hard_inputs if hard and problem.hard_inputs is not None else problem.inputs
    )

    def draw(seed: int) -> tuple[Tensor, ...]:
        generator = Generator(device=device.torch_device)
        generator.manual_seed(seed)
        with blame("The problem's inputs", "it is called as inputs(generator)"):
            inputs = draw_from(generator)
        return inputs if isinstance(inputs, tuple) else tuple(inputs) if isinstance(inputs, list) else (inputs,)

    def make_output(inputs: tuple[Tensor, ...]) -> Tensor:
        return poison(torch.empty_like(inputs[0] if like is None else like, memory_format=torch.contiguous_format))

    return Workload(draw, make_output)


def poison(tensor: Tensor) -> Tensor:
    """Fill with NaN (the largest value, for integers), so that what is never written shows."""
    if tensor.is_floating_point() or tensor.is_complex():
        return tensor.fill_(float("nan"))
    return tensor.fill_(True if tensor.dtype is torch.bool else torch.iinfo(tensor.dtype).max)


def check(
    device: Device, problem: Problem, candidate: Arm, reference: Arm, gate: ErrorGate | None, seed: int
) -> Correctness:
    """Run the candidate on five draws and compare; raises `CandidateError` where there is nothing to compare."""
    like = _reference_output(device, problem, reference)
    seeds = [int(value) for value in np.random.SeedSequence([seed, 1]).generate_state(len(DRAWS))]
    answers = [
        _answer(
            device,
            workload_of(problem, device, like, hard=kind == "hard"),
            problem,
            candidate,
            reference,
            s,
            like,
        )
        for kind, s in zip(DRAWS, seeds, strict=True)
    ]
    if gate is None:
        largest = max(float(answer.exact.abs().max()) for answer in answers)
        spacing = torch.finfo(like.dtype).eps if like.is_floating_point() else 0.0
        error = max(answer.reference_error for answer in answers)
        atol, rtol = _DEFAULT_FACTOR * max(error, spacing * largest), 0.0
    else:
        atol, rtol = gate.atol, gate.rtol
    draws, worst, worst_excess = [], None, 0.0
    for kind, s, answer in zip(DRAWS, seeds, answers, strict=True):
        error, excess, place = answer.compare(atol, rtol)
        rms = float(answer.exact.square().mean().sqrt())
        draws.append(Draw(kind, s, error, answer.reference_error, rms, excess))
        if excess > worst_excess:
            worst, worst_excess = {**place, "kind": kind, "seed": s}, excess
    verdict = Verdict.PASS if worst is None else Verdict.FAIL
    reason = "" if worst is None else _reason(max(draw.candidate_error for draw in draws), atol, rtol)
    return Correctness(verdict, reason, atol, rtol, gate is None, tuple(draws), like, worst)


@dataclass(frozen=True)
class _Answer:
    candidate: Tensor
    exact: Tensor
    reference_error: float

    def compare(self, atol: float, rtol: float) -> tuple[float, float, dict[str, Any]]:
        """The largest error, the largest excess over the tolerance, and where it is."""
        candidate = self.candidate.double()
        errors = (candidate - self.exact).abs()
        errors = torch.where(torch.isfinite(candidate), errors, torch.inf)
        excess = errors - (atol + rtol * self.exact.abs())
        index = tuple(int(i) for i in np.unravel_index(int(excess.argmax()), tuple(excess.shape)))
        value = float(candidate[index])
        place = {
            "index": list(index),
            "candidate": value if np.isfinite(value) else str(value),
            "exact": float(self.exact[index]),
            "wrong_fraction": float((excess > 0).double().mean()),
            "not_finite_fraction": float((~torch.isfinite(candidate)).double().mean()),
        }
        return float(errors.max()), float(excess[index]), place


def _answer(
    device: Device,
    workload: Workload,
    problem: Problem,
    candidate: Arm,
    reference: Arm,
    seed: int,
    like: Tensor,
) -> _Answer:
    """One draw. The candidate runs first: nothing that holds the answer exists yet."""
    with device.running("checking the candidate"):
        inputs = workload.draw(seed)
        before = [tensor.clone() for tensor in inputs]
        output = workload.make_output(inputs) if candidate.takes_output else None
        if output is None:
            workload.make_output(inputs)  # freed at once: an output allocated next is likely to find NaN in it
        device.synchronize()
        with blame("The candidate", CALLED):
            result = candidate.call(inputs, output)
        answer = as_answer(result, like, inputs)
        device.synchronize()
        for position, (tensor, copy) in enumerate(zip(inputs, before, strict=True)):
            if not torch.equal(tensor, copy):
                raise CandidateError(
                    f"The candidate changed its input {position}.",
                    "Leave the inputs as they are; copy what you scale.",
                )
        answer = answer.clone()
        exact = _exact(problem, inputs, like)
        errors = (_call_reference(reference, inputs, output).double() - exact).abs()
        return _Answer(answer, exact, float(errors.nan_to_num(nan=torch.inf).max()))


def _exact(problem: Problem, inputs: tuple[Any, ...], like: Tensor) -> Tensor:
    with blame("The problem's exact", "it is called as exact(*inputs, **params)"):
        exact = problem.exact(*inputs, **problem.params)
    exact = _tensor("exact", exact)
    if exact.shape != like.shape:
        raise UsageError(
            f"The problem's exact returned shape {tuple(exact.shape)}, its reference {tuple(like.shape)}.",
            "Both must compute the same thing.",
        )
    return exact.double()


def _call_reference(reference: Arm, inputs: tuple[Any, ...], output: Any) -> Tensor:
    with blame("The reference", "it is called as reference(*inputs, **params), with `out` where it takes one"):
        result = reference.call(inputs, output)
    return _tensor("reference", result)


def _tensor(role: str, result: object) -> Tensor:
    if not isinstance(result, Tensor):
        raise UsageError(
            f"The problem's {role} returned {type(result).__name__}, not a tensor.", "Return one torch tensor."
        )
    return result


def verify_timed_output(
    device: Device, problem: Problem, inputs: tuple[Any, ...], output: Any, correctness: Correctness
) -> str | None:
    """Compare what a timed launch left behind; None, or one sentence saying how far off it is."""
    with device.running("verifying a timed launch"):
        exact = _exact(problem, inputs, correctness.like)
        answer = as_answer(output, correctness.like, inputs)
        error, excess, place = _Answer(answer, exact, 0.0).compare(correctness.atol, correctness.rtol)
    if excess <= 0:
        return None
    return (
        f"a timed launch left another answer than the checked ones: off by {error:.3g} at {place['index']}, "
        f"{place['wrong_fraction']:.1%} of the elements wrong"
    )


def _reference_output(device: Device, problem: Problem, reference: Arm) -> Tensor:
    with device.running("running the reference"):
        inputs = workload_of(problem, device).draw(0)
        result = _call_reference(reference, inputs, None)
        device.synchronize()
        return torch.empty_like(result)


def _reason(error: float, atol: float, rtol: float) -> str:
    if not np.isfinite(error):
        return "the output holds NaN or Inf"
    relative = f" + {rtol:g} |exact|" if rtol else ""
    return f"max |candidate - exact| is {error:.3g}, allowed is {atol:.3g}{relative}"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
