"""What a record says of one gate and of a percentile: the types of the dicts that `to_dict` of these return.

They are of JSON's own types. How constraints are written, such as `Annotated[int, ">= 0"]`, is explained in
`report/record/record.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Annotated
from typing import Literal
from typing import TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired  # typing has it from Python 3.11 on

LOOKS = (12, 24, 48, 96)
"""Rounds after which a race is judged; a gate's `look` counts them from 0. Doubling keeps them few, and the price of
looking low."""

FEWEST_TO_FORESEE = 4
"""Rounds whose spread says something of that of twelve."""

Number = float | Literal["NaN", "Infinity", "-Infinity"]
"""A number of a record; the strings are those that JSON lacks, and `float()` reads them."""

GateVerdict = Literal["PASS", "FAIL", "INCONCLUSIVE", "INVALID"]
"""Of one gate."""


class IntervalFacts(TypedDict):
    """A two-sided interval and the estimate inside it."""

    low: Number
    estimate: Number
    high: Number
    confidence: Annotated[float, "> 0", "< 1"]
    """Two-sided level."""
    method: str
    """`blocks-t`, `processes-t`, `pooled-t`, `bca` or `percentile`."""


class PercentileFacts(TypedDict):
    """One percentile of an arm's latency, with what its samples can say of it; null where they can't."""

    quantile: Annotated[float, "> 0", "< 1"]
    """0.99 for p99."""
    estimate_seconds: Number
    """Of all samples."""
    low_seconds: float | None
    """Lower end of the two-sided interval."""
    high_seconds: float | None
    """Upper end of the two-sided interval."""
    upper_seconds: float | None
    """One-sided: the percentile is below it, at the same confidence."""
    confidence: Annotated[float, "> 0", "< 1"]
    """Of the interval, and of the one-sided bound."""
    effective_samples: Annotated[int, ">= 1"]
    """How many independent samples those of the race are worth, since samples of a round are alike."""
    missing_samples: Annotated[int, ">= 0"]
    """How many more of them the one-sided bound needs; 0 where there is one."""


class ProcessesFacts(TypedDict):
    """How far the processes agree, where several were asked for; lists are in their order.

    Errors and variances are of log ratios, hence relative.
    """

    ratios: Annotated[list[Number], "length >= 3"]
    """Of each process: exp of the mean log ratio of all its rounds."""
    standard_errors: list[float | None]
    """Of each mean log ratio, by the process's own rounds; null for a single round."""
    rounds: list[Annotated[int, ">= 1"]]
    """How many each process took."""
    variance_of_means: Annotated[float, ">= 0"]
    """What the verdict rests on."""
    variance_within: float | None
    """What the rounds alone would give the means; null where a process took a single round."""
    variance_between: float | None
    """Of the processes' own offsets: the variance of means less that within, at least 0."""
    differ_p: float | None
    """Chance of so large a variance of means where no process has an offset of its own (F test)."""
    pooled: IntervalFacts | None
    """Of the ratio, as if no process had an offset: by the rounds' errors alone. The verdict does not rest on it."""


class GateFacts(TypedDict):
    """The judgement on one latency gate."""

    kind: Literal["speedup"]
    """The marker that set the gate."""
    bound: Annotated[float, "> 0"]
    """Candidate / reference latency must be below it."""
    quantile: Annotated[float, "> 0", "< 1"]
    """Of the latency: 0.5 for the middle."""
    confidence: Annotated[float, "> 0", "< 1"]
    """Two-sided: at 0.95 a false PASS has a chance of at most 2.5 %."""
    rule: NotRequired[str]
    """The rule that judged: `sequential` or `classic`."""
    verdict: GateVerdict
    """The outcome of this gate alone."""
    reason: str
    """Why it did not pass; empty on PASS."""
    rounds: Annotated[int, ">= 0"]
    """Rounds that the race had taken."""
    look: int | None
    """Index of the look that decided, of 12, 24, 48, 96 rounds; null before the first."""
    ratio: IntervalFacts | None
    """The deciding interval of the latency ratio."""
    ratio_of_medians: NotRequired[float | None]
    """Candidate over reference."""
    bootstrap_ratio: NotRequired[IntervalFacts | None]
    """Of the latency ratio, by resampling rounds; shown beside the deciding one."""
    bootstrap_difference_seconds: NotRequired[IntervalFacts | None]
    """Median of the candidate less max(1, bound) times that of the reference, by resampling rounds."""
    autocorrelation: NotRequired[float | None]
    """Lag-1, of the twelve block means."""
    p_value: NotRequired[float | None]
    """One-sided, of ratio >= bound, at this look alone, or over several processes."""
    nominal_level: NotRequired[float | None]
    """What the p value must be below at this look."""
    sequential_p: NotRequired[Annotated[float, ">= 0", "<= 1"] | None]
    """One-sided, of ratio >= bound, over all looks so far (or over several processes); null under the classic rule."""
    rounds_to_decide: NotRequired[Annotated[int, ">= 1"] | None]
    """Of an undecided race: how many rounds would likely decide it; null where more rounds are unlikely to."""
    processes: NotRequired[ProcessesFacts]
    """How far the processes agree, where several were asked for."""
