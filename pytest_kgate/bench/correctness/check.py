"""Check the candidate's answers: five draws of inputs, each compared with the exact answer in float64."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
from torch import Tensor

from pytest_kgate.bench.correctness.comparison.findings import Comparison
from pytest_kgate.bench.correctness.comparison.findings import Limits
from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
from pytest_kgate.bench.correctness.problem_calls import reference_output
from pytest_kgate.bench.correctness.problem_calls import truth_of
from pytest_kgate.bench.correctness.problem_calls import unchanged_truth_of
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.bench.correctness.reference_check import demand_right_reference
from pytest_kgate.bench.correctness.reference_check import is_right_reference
from pytest_kgate.bench.correctness.weakness import IDLE
from pytest_kgate.bench.correctness.weakness import Survivors
from pytest_kgate.bench.seeds import SeedBook
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.device.answer import as_answer
from pytest_kgate.device.arm import CALL_CONVENTION
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import blame
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import CandidateError
from pytest_kgate.problems.fingerprint import Fingerprint
from pytest_kgate.problems.problem import Problem
from pytest_kgate.report.format import percent
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.system.clocks.spent import spent

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.correctness import CorrectnessFacts
    from pytest_kgate.report.record.facts.correctness import DrawFacts
    from pytest_kgate.report.record.facts.correctness import DrawKind
    from pytest_kgate.report.record.facts.correctness import FailedCheck
    from pytest_kgate.report.record.facts.correctness import WorstFacts

DRAWS: tuple[DrawKind, ...] = ("normal", "hard", "normal", "hard", "normal")
"""Five draws. Normal inputs are what users run; hard ones are those on which a wrong kernel shows."""


@dataclass(frozen=True)
class Draw:
    """The errors of candidate and reference on one draw of inputs, against the exact answer."""

    kind: DrawKind
    seed: int
    candidate_error: float
    """max |candidate - exact|; infinite where the candidate wrote NaN or Inf."""
    reference_error: float
    candidate_rms_error: float
    """Root mean square of candidate - exact."""
    reference_rms_error: float
    output_rms: float
    """Root mean square of the exact answer: what an error must be small against."""
    excess: float
    """max of |candidate - exact| - (atol + rtol |exact|); positive is too far off."""
    row_excess: float
    """The largest error of a row over what is allowed there; above 1 is too far off."""

    def to_dict(self) -> DrawFacts:
        """Built-in types, for the record; infinite errors become None, which JSON has a word for."""
        return {
            "kind": self.kind,
            "seed": self.seed,
            "candidate_error": _finite(self.candidate_error),
            "reference_error": _finite(self.reference_error),
            "candidate_rms_error": _finite(self.candidate_rms_error),
            "reference_rms_error": _finite(self.reference_rms_error),
            "output_rms": _finite(self.output_rms),
            "excess": _finite(self.excess),
            "row_excess": _finite(self.row_excess),
        }


@dataclass(frozen=True)
class Correctness:
    """The outcome of a check: the verdict, the limits it rests on, and the errors of each draw."""

    verdict: Verdict
    reason: str
    failed: FailedCheck
    """The check that the candidate failed first: `tolerance`, `rms` or `rows`; empty where it passed."""
    limits: Limits
    """Of the draw that decided; without an `allclose` marker each draw has its own."""
    gate: ErrorGate | None
    draws: tuple[Draw, ...]
    like: Tensor
    """An output of the reference, unfilled: the shape, dtype and device of an answer."""
    reference: Arm
    worst: WorstFacts | None
    """Where the candidate is furthest off; None where it is right."""
    weak: tuple[str, ...] = ()
    """Wrong answers that this check would let pass: what they are, in a few words each."""

    @property
    def lets_idle_pass(self) -> str:
        """Why passing this check proves nothing, as one sentence; empty where it takes work to pass it."""
        idle = [name for name in self.weak if name in IDLE]
        if not idle:
            return ""
        return (
            f"the check would also let pass {', '.join(idle)}. Draw inputs whose answers differ from draw to draw, or "
            'lower the tolerance; where neither can be, say weak="allow".'
        )

    @property
    def candidate_error(self) -> float:
        """The largest over all draws."""
        return max(draw.candidate_error for draw in self.draws)

    @property
    def reference_error(self) -> float:
        """The largest over all draws."""
        return max(draw.reference_error for draw in self.draws)

    def to_dict(self) -> CorrectnessFacts:
        """Built-in types, for the record; infinite errors become None, which JSON has a word for."""
        return {
            "verdict": "PASS" if self.verdict is Verdict.PASS else "FAIL",
            "reason": self.reason,
            "failed": self.failed,
            "atol": self.limits.atol,
            "rtol": self.limits.rtol,
            "factor": _finite(self.limits.factor),
            "default_tolerance": self.gate is None,
            "draws": [draw.to_dict() for draw in self.draws],
            "candidate_error": _finite(self.candidate_error),
            "reference_error": _finite(self.reference_error),
            "worst": self.worst,
            "weak": list(self.weak),
        }


def check(
    device: Device, problem: Problem, candidate: Arm, reference: Arm, gate: ErrorGate | None, seed: int
) -> Correctness:
    """Hold the candidate's answers to five draws to the gate; `CandidateError` where there is no answer to compare."""
    like = reference_output(device, problem, reference)
    draws: list[Draw] = []
    loosest: Limits | None = None
    survivors = Survivors(gate)
    failures: list[tuple[Comparison, Limits, WorstFacts]] = []
    for kind, draw_seed in draws_of(seed):
        workload = workload_of(problem, device, like, hard=kind == "hard")
        with device.running("checking the candidate"):
            inputs = workload.draw(draw_seed)
            before = Fingerprint(inputs)
            answer = answer_of(device, workload, candidate, inputs, like, before)
            redraw = functools.partial(workload.draw, draw_seed)
            truth = unchanged_truth_of(problem, reference, inputs, like, before, redraw)
            if truth.in_pieces and not is_right_reference(truth, gate, inputs):
                del truth  # rows may have to do with each other after all: who is blamed must deserve it
                truth = truth_of(problem, reference, inputs, like, at_once=True)
            demand_right_reference(truth, gate, inputs)
            limits = truth.limits(gate)
            found = truth.compare(answer, limits)
            del inputs, answer, truth.reference  # one draw is in memory at a time
            if not (failures or found.failed):
                survivors.add(truth)
        if loosest is None or limits.atol > loosest.atol:
            loosest = limits
        draws.append(_draw(kind, draw_seed, truth, found))
        if found.failed:
            failures.append((found, limits, _place(found, kind, draw_seed)))
        del truth
    if failures:
        found, limits, worst = max(failures, key=lambda one: (one[0].failed == "tolerance", one[0].excess))
        return Correctness(Verdict.FAIL, found.reason, found.failed, limits, gate, tuple(draws), like, reference, worst)
    assert loosest is not None
    return Correctness(Verdict.PASS, "", "", loosest, gate, tuple(draws), like, reference, None, survivors.names)


def draws_of(seed: int) -> Iterator[tuple[DrawKind, int]]:
    """The kind and the seed of each of a check's draws; `seed` is the root of the call's book of seeds."""
    book = SeedBook(seed)
    return ((kind, book.seed(Stream.CHECK_VALUES, number)) for number, kind in enumerate(DRAWS))


def answer_of(
    device: Device, workload: Workload, candidate: Arm, inputs: tuple[Any, ...], like: Tensor, before: Fingerprint
) -> Tensor:
    """A copy of the candidate's answer to these inputs. Call it before the exact answer exists anywhere in memory.

    `before` is of the inputs, which must stay as they are.
    """
    output = workload.output_for(candidate, inputs)
    if output is None:
        workload.make_output(inputs)  # freed at once: an output allocated next is likely to find NaN in it
    device.synchronize()
    with spent("candidate"), blame("The candidate", CALL_CONVENTION, skips=True):
        result = candidate.call(inputs, output)
        device.synchronize()
    answer = as_answer(result, like, inputs)
    device.synchronize()
    position = before.first_changed(inputs)
    if position is not None:
        raise CandidateError(
            f"The candidate changed its input {position}.",
            "Leave the inputs as they are; copy what you scale. What works in place is raced with a copy in both arms: "
            "lambda x: kernel(x.clone()).",
        )
    return answer.clone()


def _draw(kind: DrawKind, seed: int, truth: ExactAnswer, found: Comparison) -> Draw:
    return Draw(
        kind=kind,
        seed=seed,
        candidate_error=found.error,
        reference_error=truth.reference_error,
        candidate_rms_error=found.rms_error,
        reference_rms_error=truth.reference_rms_error,
        output_rms=truth.rms,
        excess=found.excess,
        row_excess=found.row_excess,
    )


def _place(found: Comparison, kind: DrawKind, seed: int) -> WorstFacts:
    place = found.place
    worst: WorstFacts = {
        "index": list(place.index),
        "exact": _shown(place.exact),
        "not_finite_fraction": place.not_finite_fraction,
        "candidate": _shown(place.answer),
        "kind": kind,
        "seed": seed,
    }
    if found.failed == "tolerance":
        worst["wrong_fraction"] = place.wrong_fraction  # of elements beyond the tolerance
    return worst


def _shown(value: float | int | complex) -> float | str:
    """As the record has it: complex numbers and those that JSON lacks are strings."""
    return str(value).strip("()") if isinstance(value, complex) or not np.isfinite(value) else value


def verify_timed_output(
    device: Device, problem: Problem, correctness: Correctness, inputs: tuple[Any, ...], output: Any
) -> str | None:
    """Compare the output of a timed launch with the exact answer; None if right, else one sentence on how far off."""
    with device.running("verifying a timed launch"):
        answer = as_answer(output, correctness.like, inputs)
        truth = truth_of(problem, correctness.reference, inputs, correctness.like)
        found = truth.compare(answer, truth.limits(correctness.gate))
    if not found.failed:
        return None
    if found.failed != "tolerance":
        return f"a timed launch left another answer than the checked ones: {found.reason}"
    place = found.place
    return (
        f"a timed launch left another answer than the checked ones: off by {found.error:.3g} at {list(place.index)}, "
        f"{percent(place.wrong_fraction)} of the elements wrong"
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
