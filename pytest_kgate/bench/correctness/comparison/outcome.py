"""The outcome of a check: the errors of each draw, the limits that they were held to, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from pytest_kgate.bench.correctness.comparison.findings import Limits
from pytest_kgate.bench.correctness.comparison.findings import idle
from pytest_kgate.bench.correctness.comparison.outputs import Found
from pytest_kgate.bench.correctness.comparison.slices import WorstSlice
from pytest_kgate.bench.correctness.comparison.where import may_be_indices
from pytest_kgate.bench.correctness.comparison.where import where_wrong
from pytest_kgate.device.answer import outputs_of
from pytest_kgate.device.arm import Arm
from pytest_kgate.problems.equal import Calls
from pytest_kgate.problems.rounding.dtypes import dtype_name
from pytest_kgate.report.record.values import finite
from pytest_kgate.report.rows import number
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import Verdict

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.correctness import CorrectnessFacts
    from pytest_kgate.report.record.facts.correctness import DrawFacts
    from pytest_kgate.report.record.facts.correctness import DrawKind
    from pytest_kgate.report.record.facts.correctness import FailedCheck
    from pytest_kgate.report.record.facts.correctness import OutputFacts
    from pytest_kgate.report.record.facts.correctness import WorstFacts


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
    worst_slice: WorstSlice | None
    """Where slices are held to TF32."""

    def to_dict(self) -> DrawFacts:
        """Built-in types, for the record; infinite errors become None, which JSON has a word for."""
        facts: DrawFacts = {
            "kind": self.kind,
            "seed": self.seed,
            "candidate_error": finite(self.candidate_error),
            "reference_error": finite(self.reference_error),
            "candidate_rms_error": finite(self.candidate_rms_error),
            "reference_rms_error": finite(self.reference_rms_error),
            "output_rms": finite(self.output_rms),
            "excess": finite(self.excess),
            "row_excess": finite(self.row_excess),
        }
        if self.worst_slice is not None:
            facts["worst_slice"] = self.worst_slice.to_dict()
        return facts


@dataclass(frozen=True)
class Correctness:
    """The outcome of a check: the verdict, the limits it rests on, and the errors of each draw."""

    verdict: Verdict
    reason: str
    failed: FailedCheck
    """The check that it failed: `tolerance`, `rms`, `rows`, `bits`, `slices` or `equal`; empty where it passed."""
    limits: Limits
    """Of the draw that decided; without an `allclose` marker each draw has its own."""
    gate: ErrorGate | None
    draws: tuple[Draw, ...]
    like: Any
    """An answer of the reference, unfilled: how answers are built, and their tensors' shapes, dtypes and device."""
    reference: Arm
    worst: WorstFacts | None
    """Where the candidate is furthest off; None where it is right."""
    weak: tuple[str, ...] = ()
    """Wrong answers that this check would let pass: what they are, in a few words each."""
    on_small: str = ""
    """What became of a wrong candidate on the problem's smaller shape, as one clause; empty where it was not asked."""
    by_equal: bool = False
    """Whether the problem's own `equal` has judged."""
    calls: Calls | None = None
    """What `equal` holds later answers against, too."""
    outputs: tuple[OutputFacts, ...] = ()
    """Of each output the largest errors, where there are several."""
    exact_on_host: bool = False
    """Whether exact answers had to lie in the host's memory, since a GPU had no room for them."""
    ill_conditioned: str = ""
    """Where rounding moves the exact answer so far that the reference is off by more than its type explains: one
    sentence with the numbers."""
    coarse_exact: str = ""
    """Where the exact answer is no finer than the output's type, and could be: what the record warns of."""

    @property
    def lets_idle_pass(self) -> str:
        """Why passing this check proves nothing, as one sentence; empty where it takes work to pass it."""
        found = idle(self.weak)
        if not found:
            return ""
        if self.ill_conditioned:
            return (
                f"the check would also let pass {', '.join(found)}: {self.ill_conditioned}. Draw inputs, or take a "
                'shape such as a larger batch, on which rounding does less; where neither can be, say weak="allow".'
            )
        return (
            f"the check would also let pass {', '.join(found)}. Draw inputs whose answers differ from draw to draw, or "
            'lower the tolerance; where neither can be, say weak="allow".'
        )

    @property
    def candidate_error(self) -> float:
        """The candidate's largest absolute error over all draws."""
        return max(draw.candidate_error for draw in self.draws)

    @property
    def reference_error(self) -> float:
        """The reference's largest absolute error over all draws."""
        return max(draw.reference_error for draw in self.draws)

    def to_dict(self) -> CorrectnessFacts:
        """Built-in types, for the record; infinite errors become None, which JSON has a word for."""
        facts: CorrectnessFacts = {
            "verdict": "PASS" if self.verdict is Verdict.PASS else "FAIL",
            "reason": self.reason,
            "failed": self.failed,
            "atol": self.limits.atol,
            "rtol": self.limits.rtol,
            "factor": finite(self.limits.factor),
            "default_tolerance": self.gate is None,
            "draws": [draw.to_dict() for draw in self.draws],
            "candidate_error": finite(self.candidate_error),
            "reference_error": finite(self.reference_error),
            "worst": self.worst,
            "weak": list(self.weak),
        }
        if self.limits.of_problem:
            facts["problem_tolerance"] = True
        if self.on_small:
            facts["on_small"] = self.on_small
        if self.by_equal:
            facts["by_equal"] = True
        if self.outputs:
            facts["outputs"] = list(self.outputs)
        return facts


def draw_of(kind: DrawKind, seed: int, output: Found) -> Draw:
    """The errors of one output on one draw."""
    truth, found = output.truth, output.comparison
    return Draw(
        kind=kind,
        seed=seed,
        candidate_error=found.error,
        reference_error=0.0 if output.by_equal else truth.reference_error,
        candidate_rms_error=found.rms_error,
        reference_rms_error=0.0 if output.by_equal else truth.reference_rms_error,
        output_rms=truth.rms,
        excess=found.excess,
        row_excess=found.row_excess,
        worst_slice=found.worst_slice,
    )


def of_output(found: Found, before: OutputFacts | None) -> OutputFacts:
    """The largest errors of an output, in this draw and in those before."""
    candidate, reference = found.comparison.error, found.truth.reference_error
    if before is not None:
        candidate = max(candidate, number(before["candidate_error"]))
        reference = max(reference, number(before["reference_error"]))
    return {
        "name": found.output,
        "dtype": dtype_name(found.truth.dtype),
        "candidate_error": finite(candidate),
        "reference_error": finite(reference),
        "atol": max(found.limits.atol, before["atol"] if before else 0.0),
        "rtol": found.limits.rtol,
    }


def place_of(output: Found, answer: Any, kind: DrawKind, seed: int, inputs: Any) -> WorstFacts:
    """Where an answer to these inputs is furthest off, for the record."""
    found = output.comparison
    place = found.place
    worst: WorstFacts = {
        "index": list(place.index),
        "exact": _shown(place.exact),
        "not_finite_fraction": place.not_finite_fraction,
        "candidate": _shown(place.answer),
        "kind": kind,
        "seed": seed,
    }
    if output.output != "output":
        worst["output"] = output.output
    if may_be_indices(output.truth, inputs):
        worst["may_be_indices"] = True
    if found.failed == "tolerance":
        where = where_wrong(output.truth, outputs_of(answer)[output.output], output.limits)
        if where:
            worst["where"] = where
        worst["wrong_fraction"] = place.wrong_fraction  # of elements beyond the tolerance
    return worst


def _shown(value: float | int | complex) -> float | str:
    """As the record has it: complex numbers and those that JSON lacks are strings."""
    return str(value).strip("()") if isinstance(value, complex) or not np.isfinite(value) else value
