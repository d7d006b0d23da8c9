"""What a record says of the comparison with the exact answer, and of the mutants that `kgate selftest` shows to it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Annotated
from typing import Literal
from typing import TypedDict

from pytest_kgate.statistics.gate_facts import Number

if TYPE_CHECKING:
    from typing_extensions import NotRequired  # typing has it from Python 3.11 on

DrawKind = Literal["normal", "hard"]
"""Of inputs: `hard` ones show mistakes that normal ones hide."""

FailedCheck = Literal["", "tolerance", "rms", "rows", "bits", "slices", "equal"]
"""Empty where an answer passed all."""

MutantOutcome = Literal["killed", "lived", "same"]
"""`killed`: the check found it. `lived`: it did not. `same`: its answers were the right ones."""

MutantCheck = Literal["", "tolerance", "rms", "rows", "bits", "slices", "equal", "refused", "raised"]
"""What found a mutant: a check, or that it gave no answer (`refused`), or that it raised. Empty where nothing did."""

Error = Annotated[float, ">= 0"] | Literal["NaN", "Infinity", "-Infinity"] | None
"""A numerical error; null where it is not finite, or a string in records of other versions."""

Fraction = Annotated[float, ">= 0", "<= 1"]
"""Of all elements."""


class SliceFacts(TypedDict):
    """All elements at one index of an axis, such as a channel: those that are furthest off beside TF32."""

    axis: int
    """Of the output."""
    index: int
    """On it."""
    times: Annotated[float, ">= 0"]
    """The rms error there, over what TF32 comes to at its coarsest."""
    allowed: Annotated[float, "> 0"]
    """More is too far off."""


class DrawFacts(TypedDict):
    """One draw of inputs, with the errors of both arms on it."""

    kind: DrawKind
    """Of its inputs."""
    seed: int
    """Of the generator that drew the inputs."""
    candidate_error: Error
    """max |candidate - exact|."""
    reference_error: Error
    """max |reference - exact|."""
    candidate_rms_error: NotRequired[Error]
    """Root mean square of candidate - exact."""
    reference_rms_error: NotRequired[Error]
    """Root mean square of reference - exact, where the reference is finite."""
    row_excess: NotRequired[Error]
    """The largest error of a row over what is allowed there; above 1 is too far off."""
    worst_slice: NotRequired[SliceFacts]
    """Absent where the reference's error does not come from TF32."""
    output_rms: Error
    """Root mean square of the exact answer."""
    excess: Number | None
    """max of |candidate - exact| - (atol + rtol |exact|); positive is too far off, null is not finite."""


class WorstFacts(TypedDict):
    """The element where the candidate is furthest off."""

    index: list[int]
    """Of the element in the output."""
    output: NotRequired[str]
    """Which one, of several: `output 1`, `output lse`; `input 0` is one that is changed in place."""
    candidate: float | str
    """What it wrote there; `nan`, `inf`, `-inf` and complex numbers are strings."""
    exact: float | str
    """What belongs there."""
    kind: str
    """Of that draw's inputs: `normal` or `hard`."""
    seed: int
    """Of that draw."""
    may_be_indices: NotRequired[bool]
    """Whether the exact output can be places in an input, of which several may be right where values are equal."""
    where: NotRequired[str]
    """In which part of the output all wrong elements lie: `512 to 1023 (the last 512) of 1024 of axis 2`. Absent where
    they lie in all parts."""
    wrong_fraction: NotRequired[Fraction]
    """Of that draw's elements, those beyond the tolerance."""
    not_finite_fraction: NotRequired[Fraction]
    """Of that draw's elements, those that are NaN or Inf."""
    varying_fraction: NotRequired[Fraction]
    """Of the elements of the first draw that was wrong, those that a second call on the same inputs answered otherwise,
    by more than the tolerance."""


class OutputFacts(TypedDict):
    """One output of several."""

    name: str
    """`output 1`, `output lse`, or `input 0` for one that is changed in place."""
    dtype: str
    """Of its elements: `float16`."""
    candidate_error: Error
    """The largest over the draws."""
    reference_error: Error
    """The largest over the draws."""
    atol: Annotated[float, ">= 0"]
    """Allowed is |candidate - exact| <= atol + rtol |exact|; of the draw that allowed most."""
    rtol: Annotated[float, ">= 0"]
    """See `atol`."""


class CorrectnessFacts(TypedDict):
    """The outcome of all draws."""

    verdict: Literal["PASS", "FAIL", "INVALID"]
    """Of the check."""
    reason: str
    """Why it was not passed; empty on PASS."""
    atol: Annotated[float, ">= 0"]
    """Allowed is |candidate - exact| <= atol + rtol |exact|."""
    rtol: Annotated[float, ">= 0"]
    """See `atol`."""
    factor: NotRequired[float | None]
    """Allowed is so many times the reference's rms error; null where only the tolerance counts."""
    failed: NotRequired[FailedCheck]
    """The check that was failed first; empty where none was."""
    weak: NotRequired[list[str]]
    """Wrong answers that this check would let pass."""
    default_tolerance: NotRequired[bool]
    """Whether the tolerance came from the reference's own error, for want of an allclose marker; but for
    `problem_tolerance`."""
    problem_tolerance: NotRequired[bool]
    """Whether `atol`, `rtol` and `factor` are those that the problem gives for the output which they are of."""
    draws: list[DrawFacts]
    """In the order in which they were drawn."""
    on_small: NotRequired[str]
    """What became of a wrong candidate on the problem's smaller shape: `wrong on attention 1x2x65x64 as well`."""
    by_equal: NotRequired[bool]
    """Whether the problem's own `equal` has judged; tolerances and errors then say nothing."""
    outputs: NotRequired[list[OutputFacts]]
    """Where there are several."""
    candidate_error: Error
    """The largest over the draws."""
    reference_error: Error
    """The largest over the draws."""
    worst: NotRequired[WorstFacts | None]
    """Where the candidate is furthest off; null where it is right."""


class MutantFacts(TypedDict):
    """What became of one kernel that is wrong in a known way."""

    name: str
    """What is wrong with it."""
    outcome: MutantOutcome
    """`killed`: the check found it. `lived`: it did not. `same`: its answers were the right ones."""
    check: MutantCheck
    """What found it; empty where nothing did."""
    kind: DrawKind | Literal[""]
    """Of the inputs on which it was found."""


class SelftestFacts(TypedDict):
    """Instead of a race, under --kgate-selftest: what became of mutants, kernels that are wrong in one known way."""

    killed: Annotated[int, ">= 0"]
    """How many of them the check found."""
    lived: list[str]
    """The names of those that it let pass."""
    honest: str
    """Why the reference itself would fail the check; empty where it passes."""
    mutants: list[MutantFacts]
    """All of them."""
