"""Check the candidate's answers: five draws of inputs, each compared with the exact answer in float64."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeAlias

from pytest_kgate.bench.correctness.comparison.draws import draws_of
from pytest_kgate.bench.correctness.comparison.draws import seed_beside
from pytest_kgate.bench.correctness.comparison.findings import Comparison
from pytest_kgate.bench.correctness.comparison.findings import Limits
from pytest_kgate.bench.correctness.comparison.outcome import Correctness
from pytest_kgate.bench.correctness.comparison.outcome import Draw
from pytest_kgate.bench.correctness.comparison.outcome import draw_of
from pytest_kgate.bench.correctness.comparison.outcome import of_output
from pytest_kgate.bench.correctness.comparison.outcome import place_of
from pytest_kgate.bench.correctness.comparison.outputs import the_worst
from pytest_kgate.bench.correctness.comparison.where import varying_fraction
from pytest_kgate.bench.correctness.exact.conditioning import moved
from pytest_kgate.bench.correctness.exact.tf32_yardstick import Tf32Yardstick
from pytest_kgate.bench.correctness.exact.trusted import coarse_exact
from pytest_kgate.bench.correctness.exact.trusted import demand_repeatable_exact
from pytest_kgate.bench.correctness.problem_calls import answers_vary
from pytest_kgate.bench.correctness.problem_calls import reference_answer
from pytest_kgate.bench.correctness.problem_calls import reference_output
from pytest_kgate.bench.correctness.problem_calls import truth_of
from pytest_kgate.bench.correctness.problem_calls import unchanged_truth_of
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.bench.correctness.reference_check import IllConditioned
from pytest_kgate.bench.correctness.reference_check import demand_right_reference
from pytest_kgate.bench.correctness.reference_check import is_right_reference
from pytest_kgate.bench.correctness.weakness import OutputSurvivors
from pytest_kgate.device.answer import as_answer
from pytest_kgate.device.answer import title_of
from pytest_kgate.device.arm import CALL_CONVENTION
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import bind
from pytest_kgate.device.arm import blame
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import OtherKind
from pytest_kgate.errors import ProblemError
from pytest_kgate.errors import changed_input
from pytest_kgate.problems.equal import Calls
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.trees import tree
from pytest_kgate.problems.trees.fingerprint import Fingerprint
from pytest_kgate.report.format import percent
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.system.clocks.spent import spent

if TYPE_CHECKING:
    from pytest_kgate.bench.correctness.comparison.outputs import ExactOutputs
    from pytest_kgate.bench.request import Request
    from pytest_kgate.report.record.facts.correctness import DrawKind
    from pytest_kgate.report.record.facts.correctness import OutputFacts
    from pytest_kgate.report.record.facts.correctness import WorstFacts

Keep: TypeAlias = "Callable[[DrawKind, int, Fingerprint, Any], None]"
"""Takes an answer of a check: the kind and the seed of its draw, the fingerprint of its inputs, and the answer."""

_WRITTEN_BYTES = 2**26
"""Inputs up to this size are written anew, to see whether the reference looks at them."""


def check(
    device: Device,
    problem: Problem,
    candidate: Arm,
    reference: Arm,
    gate: ErrorGate | None,
    seed: int,
    like: Any = None,
    keep: Keep | None = None,
) -> Correctness:
    """Hold the candidate's answers to five draws to the gate; `CandidateError` where there is no answer to compare.

    `like` is what `reference_output` gives, where that is known already. `keep` is handed each answer, before the exact
    one is computed.
    """
    like = reference_output(device, problem, reference) if like is None else like
    draws: list[Draw] = []
    loosest: Limits | None = None
    survivors = OutputSurvivors(gate)
    calls = Calls(problem.equal)
    yardstick = Tf32Yardstick()
    failures: list[tuple[str, Comparison, Limits, WorstFacts]] = []
    ill_conditioned: list[IllConditioned] = []
    on_host = False
    coarse = ""
    varying = 0.0
    of_outputs: list[OutputFacts] = []
    for kind, draw_seed in draws_of(seed):
        workload = workload_of(problem, device, like, hard=kind == "hard")
        with device.running("checking the candidate"):
            inputs = workload.draw(draw_seed)
            before = Fingerprint(inputs)
            redraw = functools.partial(workload.draw, draw_seed)
            try:
                answer = answer_of(device, workload, candidate, inputs, like, before)
            except OtherKind:
                reference_answer(problem, reference, redraw(), like)  # raises where the reference is as fickle
                truth_of(problem, reference, redraw(), like)  # raises where `exact` is of another kind, too
                raise
            if keep is not None:
                keep(kind, draw_seed, before, answer)
            truth = unchanged_truth_of(problem, reference, inputs, like, before, redraw)
            if truth.in_pieces and not is_right_reference(truth, gate, inputs):
                del truth  # rows may have to do with each other after all: who is blamed must deserve it
                truth = truth_of(problem, reference, inputs, like, at_once=True)
            varies = functools.partial(answers_vary, problem, reference, inputs, truth)
            if not draws:
                demand_repeatable_exact(problem, inputs, like, truth, varies)
                coarse = coarse_exact(problem, inputs, like, truth)
            moves = functools.partial(moved, problem, inputs, like, truth)
            ill_conditioned += demand_right_reference(truth, gate, inputs, varies, moves)
            if not draws:
                _demand_answered_anew(problem, reference, workload, inputs, truth, seed)
            call = functools.partial(reference_answer, problem, reference, inputs, like)
            yardstick.hold(truth, call, truth.forget_reference)
            found = the_worst(outputs := truth.judge(answer, gate, calls))
            worst = place_of(found, answer, kind, draw_seed, inputs) if found.failed else None
            if worst is not None and not failures:
                again = functools.partial(_again, device, workload, candidate, redraw, like, before)
                varying = varying_fraction(found.output, answer, again, found.limits.atol)
                del again
            del inputs, answer, varies, moves, call  # one draw is in memory at a time
            truth.forget_reference()
            if not (failures or found.failed):
                survivors.add(truth)
        if loosest is None or found.limits.atol > loosest.atol:
            loosest = found.limits
        draws.append(draw_of(kind, draw_seed, found))
        of_outputs = [of_output(one, before) for one, before in itertools.zip_longest(outputs, of_outputs)]
        if worst is not None:
            failures.append((found.output, found.comparison, found.limits, worst))
        on_host = on_host or truth.on_host
        del truth, outputs, found  # all of which hold the exact answer
    known = functools.partial(
        Correctness,
        gate=gate,
        draws=tuple(draws),
        like=like,
        reference=reference,
        by_equal=problem.equal is not None,
        calls=calls.checked(),
        outputs=tuple(of_outputs) if len(of_outputs) > 1 else (),
        exact_on_host=on_host,
        coarse_exact=coarse,
        ill_conditioned=max(ill_conditioned, key=lambda one: one.share).reason if ill_conditioned else "",
    )
    if failures:
        name, comparison, limits, worst = max(failures, key=lambda one: (one[1].failed == "tolerance", one[1].excess))
        worst["varying_fraction"] = varying
        reason = comparison.reason if name == "output" else f"{title_of(name, like)}: {comparison.reason}"
        return known(verdict=Verdict.FAIL, reason=reason, failed=comparison.failed, limits=limits, worst=worst)
    assert loosest is not None
    return known(verdict=Verdict.PASS, reason="", failed="", limits=loosest, worst=None, weak=survivors.names)


def _demand_answered_anew(
    problem: Problem, reference: Arm, workload: Workload, inputs: tuple[Any, ...], truth: ExactOutputs, seed: int
) -> None:
    """Raise `ProblemError` where the reference answers new values in the same tensors as it has answered the old ones.

    One behind `functools.lru_cache` does: tensors are told apart by their identity, and a race, which writes new values
    into the same ones, would time how long it takes to look for an answer. Large inputs are spared, for their copies.
    """
    if problem.mutates or not 0 < tree.size_bytes(inputs) <= _WRITTEN_BYTES:
        return
    answered, others, old = truth.reference, workload.draw(seed_beside(seed)), tree.copy(inputs)
    tree.write(inputs, others)
    try:
        same = tree.same_bytes(reference_answer(problem, reference, inputs, answered), answered)
        if same and not tree.same_bytes(reference_answer(problem, reference, others, answered), answered):
            raise ProblemError(
                "The reference keeps its answers: new values in the same tensors got the answer to the old ones.",
                "Take functools.lru_cache, or what else remembers them, off the reference: looking for an answer would "
                "be timed, and no candidate could be as fast.",
            )
    finally:
        tree.write(inputs, old)


def on_small(device: Device, request: Request, backend: str | None) -> str:
    """What becomes of a wrong candidate on the problem's smaller shape, as one clause; `backend` is the reference's."""
    small = request.problem.small
    assert small is not None
    function: Any = small.reference
    if isinstance(function, Mapping):  # the larger problem may have been given another reference since, or other ones
        larger: Any = request.problem.reference
        picked = larger[backend] if isinstance(larger, Mapping) else larger
        function = function.get(str(backend), picked)
    candidate, reference = (
        bind(role, one, small.params, small.mutates)
        for role, one in (("candidate", request.candidate), ("reference", function))
    )
    try:
        found = check(device, small, candidate, reference, request.error, request.seed)
    except KgateError as error:
        return f"on {small.name}: {error.what.rstrip('.')}"
    return f"wrong on {small.name} as well" if found.failed else f"right on {small.name}"


def answer_of(
    device: Device, workload: Workload, candidate: Arm, inputs: tuple[Any, ...], like: Any, before: Fingerprint
) -> Any:
    """A copy of the candidate's answer to these inputs. Call it before the exact answer exists anywhere in memory.

    `before` is of the inputs, which must stay as they are, but for those that the problem lets it change: they are what
    they were when this returns.
    """
    with workload.one_call(candidate, inputs) as output:
        device.synchronize()
        with spent("candidate"), blame("The candidate", CALL_CONVENTION, skips=True):
            result = candidate.call(inputs, output)
            device.synchronize()
        if result is None:
            _demand_unchanged(before, inputs)  # first: who writes to an input returns nothing on purpose
        answer = as_answer(result, like, inputs)
        device.synchronize()
        answer = tree.clone(answer)
    _demand_unchanged(before, inputs)
    return answer


def _again(
    device: Device, workload: Workload, candidate: Arm, redraw: Callable[[], Any], like: Any, before: Fingerprint
) -> Any:
    """Its answer to the same inputs, drawn anew."""
    return answer_of(device, workload, candidate, redraw(), like, before)


def _demand_unchanged(before: Fingerprint, inputs: tuple[Any, ...]) -> None:
    """Raise `CandidateError` where the inputs are not what they were, but for those that a call is to change."""
    position = before.first_changed(inputs)
    if position is not None:
        raise changed_input(position)


@dataclass(frozen=True)
class Verification:
    """Compares answers that were given outside of the check with exact ones; see `Verify`."""

    device: Device
    problem: Problem
    correctness: Correctness
    """Of the check, which the candidate has passed."""

    @property
    def checked(self) -> tuple[int, ...]:
        """Seeds of draws on which the check found the candidate right, like those that a race draws."""
        return tuple(draw.seed for draw in self.correctness.draws if draw.kind == "normal")

    def __call__(self, inputs: tuple[Any, ...], answer: Any) -> str | None:
        """None where the answer to these inputs is right, or one clause that says how far off it is."""
        like = self.correctness.like
        with self.device.running("verifying an answer"):
            answer = as_answer(answer, like, inputs)
            truth = truth_of(self.problem, self.correctness.reference, inputs, like)
            # A graph holds a seed as it was captured, and drops the same in each of its calls.
            calls = self.correctness.calls if self.device.kind == "host" else None
            output = the_worst(truth.judge(answer, self.correctness.gate, calls))
        if not output.failed:
            return None
        found, name = output.comparison, "" if output.output == "output" else f"{title_of(output.output, like)}, "
        if found.failed != "tolerance":
            return f"{name}{found.reason}"
        place = found.place
        integers = "integers " if isinstance(place.exact, int) else ""
        return (
            f"{name}{integers}off by {found.error:.3g} at {list(place.index)}, {percent(place.wrong_fraction)} of the "
            "elements wrong"
        )
