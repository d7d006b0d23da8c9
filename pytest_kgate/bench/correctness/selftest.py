"""Test a problem's check with mutants, kernels that are wrong in one known way: which ones does it find, and how."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Final
from typing import Literal

import torch

from pytest_kgate.bench.correctness.check import answer_of
from pytest_kgate.bench.correctness.comparison.draws import draws_of
from pytest_kgate.bench.correctness.comparison.outputs import ExactOutputs
from pytest_kgate.bench.correctness.comparison.outputs import Found
from pytest_kgate.bench.correctness.comparison.outputs import near_enough
from pytest_kgate.bench.correctness.comparison.outputs import the_worst
from pytest_kgate.bench.correctness.exact.tf32_yardstick import Tf32Yardstick
from pytest_kgate.bench.correctness.mutants.generic import generic_mutants
from pytest_kgate.bench.correctness.mutants.mutant import Mutant
from pytest_kgate.bench.correctness.problem_calls import reference_answer
from pytest_kgate.bench.correctness.problem_calls import reference_output
from pytest_kgate.bench.correctness.problem_calls import truth_of
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import InPlace
from pytest_kgate.device.arm import bind
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import CandidateError
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.trees import tree
from pytest_kgate.problems.trees.fingerprint import Fingerprint
from pytest_kgate.statistics.gates import ErrorGate

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.correctness import DrawKind
    from pytest_kgate.report.record.facts.correctness import MutantCheck
    from pytest_kgate.report.record.facts.correctness import MutantOutcome
    from pytest_kgate.report.record.facts.correctness import SelftestFacts

KILLED: Final = "killed"
LIVED: Final = "lived"
SAME: Final = "same"

_ROUNDING = 1.001
"""Of the error of the exact answer in its own type: what is no further off than this is the right answer."""


@dataclass
class Fate:
    """Whether the check found one mutant, on which draw, and by which of its checks."""

    name: str
    outcome: MutantOutcome = SAME
    """`killed`, `lived`, or `same`: on every draw its answer was the right one, so that it is no wrong kernel here."""
    check: MutantCheck = ""
    """What killed it: `tolerance`, `rms`, `rows`, `bits`, `slices`; `refused` if it is no answer, `raised`."""
    kind: DrawKind | Literal[""] = ""
    """Of the draw on which it died: `normal` or `hard`."""


@dataclass(frozen=True)
class Selftest:
    """The outcome of one problem's selftest: the fate of each mutant, and whether the reference itself passes."""

    fates: tuple[Fate, ...]
    honest: str
    """Why the reference itself would fail the check; empty where it passes."""

    @property
    def lived(self) -> tuple[str, ...]:
        """The names of the mutants that the check let pass."""
        return tuple(fate.name for fate in self.fates if fate.outcome == LIVED)

    @property
    def killed(self) -> int:
        """How many mutants the check found."""
        return sum(fate.outcome == KILLED for fate in self.fates)

    @property
    def reason(self) -> str:
        """Why the check is weak; empty where all mutants died."""
        if not self.lived:
            return ""
        return (
            f"the check lets {len(self.lived)} of {self.killed + len(self.lived)} mutants pass: {', '.join(self.lived)}"
        )

    def to_dict(self) -> SelftestFacts:
        """The outcome in built-in types, for the record."""
        return {
            "killed": self.killed,
            "lived": list(self.lived),
            "honest": self.honest,
            "mutants": [
                {"name": fate.name, "outcome": fate.outcome, "check": fate.check, "kind": fate.kind}
                for fate in self.fates
            ],
        }


def selftest(device: Device, problem: Problem, reference: Arm, gate: ErrorGate | None, seed: int) -> Selftest:
    """Run every mutant through the problem's check, draw by draw until it is found, and the reference as well."""
    like = reference_output(device, problem, reference)
    mutants = mutants_of(problem, reference, like)
    fates = [Fate(mutant.name) for mutant in mutants]
    honest = ""
    yardstick = Tf32Yardstick()
    for kind, draw_seed in draws_of(seed):
        workload = workload_of(problem, device, like, hard=kind == "hard")
        alive = [pair for pair in zip(mutants, fates, strict=True) if pair[1].outcome != KILLED]
        with device.running("testing the check with mutants"):
            answers = [_answer(device, workload, mutant, draw_seed, like) for mutant, _ in alive]
            truth = truth_of(problem, reference, inputs := workload.draw(draw_seed), like)
            yardstick.hold(truth, functools.partial(reference_answer, problem, reference, inputs, like))
            for (mutant, fate), answer in zip(alive, answers, strict=True):
                _judge(mutant, fate, answer, truth, gate, kind)
            honest = honest or the_worst(truth.judge(truth.reference, gate)).comparison.reason
    return Selftest(tuple(fates), honest)


def mutants_of(problem: Problem, reference: Arm, like: Any) -> list[Mutant]:
    """New mutants for this problem: those that fit any operator, and those that the problem brings."""

    def right(inputs: tuple[Any, ...]) -> Any:
        output = None
        if reference.takes_output:
            output = tree.mapped(like.returned if isinstance(like, InPlace) else like, torch.empty_like)
        return reference.call(inputs, output)

    own = {name: bind("mutant", kernel, problem.params, problem.mutates) for name, kernel in problem.mutants.items()}
    return generic_mutants(right, like) + [Mutant(name, _without_output(arm)) for name, arm in own.items()]


def _without_output(arm: Arm) -> Any:
    return lambda inputs: arm.call(inputs, None)


def _answer(device: Device, workload: Workload, mutant: Mutant, seed: int, like: Any) -> Any | CandidateError:
    # Inputs of its own: one of the mutants changes them.
    arm = Arm("candidate", lambda inputs, output: mutant.call(inputs), False)
    try:
        inputs = workload.draw(seed)
        return answer_of(device, workload, arm, inputs, like, Fingerprint(inputs))
    except CandidateError as error:
        return error


def _judge(
    mutant: Mutant,
    fate: Fate,
    answer: Any | CandidateError,
    truth: ExactOutputs,
    gate: ErrorGate | None,
    kind: DrawKind,
) -> None:
    if isinstance(answer, CandidateError):
        fate.outcome, fate.check, fate.kind = KILLED, "raised" if answer.__cause__ else "refused", kind
        return
    found = truth.judge(answer, gate)
    worst = the_worst(found)
    if worst.failed:
        fate.outcome, fate.check, fate.kind = KILLED, worst.comparison.failed, kind
    elif mutant.idle or not _is_right(answer, found, truth):
        fate.outcome = LIVED


def _is_right(answer: Any, found: list[Found], truth: ExactOutputs) -> bool:
    """Whether a mutant's answer is the right one, so that it is no wrong kernel here."""
    near = truth.equal is None and all(near_enough(one, _ROUNDING) for one in found)
    return near or truth.same(answer, truth.reference)
