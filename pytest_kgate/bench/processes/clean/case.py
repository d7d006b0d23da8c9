"""In the clean process: the problem of one gate, made anew, to which a candidate's answers are held."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from pytest_kgate.bench.correctness.comparison.outputs import ExactOutputs
from pytest_kgate.bench.correctness.comparison.outputs import Found
from pytest_kgate.bench.correctness.comparison.outputs import the_worst
from pytest_kgate.bench.correctness.problem_calls import reference_output
from pytest_kgate.bench.correctness.problem_calls import truth_of
from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.bench.correctness.reference_check import is_right_reference
from pytest_kgate.bench.processes.clean.problem.rebuild import rebuilt
from pytest_kgate.bench.processes.clean.problem.recipe import NotRebuilt
from pytest_kgate.bench.processes.clean.problem.recipe import is_own
from pytest_kgate.bench.processes.clean.timing import CLOCK
from pytest_kgate.device.answer import finished
from pytest_kgate.device.answer import outputs_of
from pytest_kgate.device.arm import bind
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.device.protocol import Stopwatch
from pytest_kgate.problems.trees import tree
from pytest_kgate.problems.trees.fingerprint import Fingerprint
from pytest_kgate.statistics.gates import ErrorGate

_SLACK = 1.1
"""What is allowed is so much more here: an answer at the limit is not refused because sums are ordered otherwise."""


class Case:
    """A problem with its one reference, and the tolerance of the gate."""

    def __init__(self, device: Device, recipe: Mapping[str, Any], gate: Sequence[Any] | None) -> None:
        """`gate`: the fields of an `ErrorGate`. Imports what the recipe names; raises `NotRebuilt`."""
        self.device = device
        self.problem = problem = rebuilt(recipe)
        self._own = is_own(recipe)
        self._gate = None if gate is None else ErrorGate(*gate)
        assert not isinstance(problem.reference, Mapping)
        arm = bind("reference", problem.reference, problem.params, problem.mutates)
        self.reference = finished(arm) if device.kind == "host" else arm
        self._like: Any = None
        self._stopwatch: Stopwatch | None = None

    def finding(self, facts: Mapping[str, Any], tensors: Sequence[Tensor]) -> str | None:
        """What is wrong with one answer, as a clause; None where nothing is.

        `facts` are those of a `KeptAnswer`, `tensors` its values. Nothing honest explains that inputs differ where the
        problem is the plugin's own. Any other may depend on what else a process has done: where its inputs or its
        reference are others here, this raises `NotRebuilt`.
        """
        with self.device.running("comparing an answer in the clean process"):
            like = self._answer_shape()
            inputs = workload_of(self.problem, self.device, like, hard=facts["kind"] == "hard").draw(facts["seed"])
            if not Fingerprint.fits(facts["inputs"], inputs):
                return self._different("the inputs that were drawn from a seed are others there")
            wanted = [(one.dtype, one.shape) for one in tree.tensors(like)]
            if wanted != [(one.dtype, one.shape) for one in tensors]:
                return self._different("the reference's answers are of another shape or type there")
            truth = truth_of(self.problem, self.reference, inputs, like)
            if truth.in_pieces and not is_right_reference(truth, self._gate, inputs):
                del truth
                truth = truth_of(self.problem, self.reference, inputs, like, at_once=True)
            if not is_right_reference(truth, self._gate, inputs):
                raise NotRebuilt("the reference is wrong there")
            left = iter(tensors)
            found = the_worst(_judged(truth, tree.mapped(like, lambda _: next(left)), self._gate))
        if not found.failed:
            return None
        which = "" if found.output == "output" else f"{found.output}: "
        return f"{which}{found.comparison.reason}"

    def begin_race(self, timer: str, cache: str) -> None:
        """Make a stopwatch for the reference against itself."""
        workload = workload_of(self.problem, self.device, self._answer_shape())
        self.close()
        self._stopwatch = self.device.stopwatch((self.reference,) * 2, workload, timer=timer, cache=cache)

    def time(self, seeds: RoundSeeds, order: Sequence[int]) -> tuple[float, float | None]:
        """The median latency of a call of the reference in one round, and the GPU's clock if that was read."""
        assert self._stopwatch is not None
        taken = self._stopwatch.round(seeds, np.array(order, dtype=np.intp))
        return float(np.median(taken.seconds)), taken.evidence.get(CLOCK)

    def close(self) -> None:
        """Free the stopwatch."""
        if self._stopwatch is not None:
            self._stopwatch.close()
            self._stopwatch = None

    def _answer_shape(self) -> Any:
        if self._like is None:
            self._like = reference_output(self.device, self.problem, self.reference)
        return self._like

    def demand_same_reference(self, facts: Mapping[str, Any], tensors: Sequence[Tensor]) -> None:
        """Raise `NotRebuilt` where what the reference has answered in the judging process is wrong here.

        It is then another problem here: its module draws numbers as it is imported, or a test has changed them.
        """
        if self.finding(facts, tensors) is not None:
            raise NotRebuilt("the reference's answers from the tests' process are wrong there")

    def _different(self, how: str) -> str:
        if self._own:
            return how
        raise NotRebuilt(how)


def _judged(truth: ExactOutputs, answer: Any, gate: ErrorGate | None) -> list[Found]:
    found = truth.judge(answer, gate)
    if truth.equal is not None:
        return found
    return [_with_slack(one, outputs_of(answer)[one.output]) if one.failed else one for one in found]


def _with_slack(found: Found, answer: Tensor) -> Found:
    """The comparison once more, with limits that are a little wider."""
    limits = found.limits
    factor = limits.factor * _SLACK if math.isfinite(limits.factor) else limits.factor
    wider = replace(limits, atol=limits.atol * _SLACK, rtol=limits.rtol * _SLACK, factor=factor)
    return replace(found, comparison=found.truth.compare(answer, wider), limits=wider)
