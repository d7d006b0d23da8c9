"""Judge a gate that was raced in several processes, with the process as the statistical unit. Pure.

What lasts as long as a process (a memory layout, a library's choice at start-up) is an offset that all its rounds
share, so that no number of rounds averages it out. Fresh processes draw it anew: their mean log ratios are independent,
and a t interval over them holds whatever the rounds within a process do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from pytest_kgate.statistics import estimates
from pytest_kgate.statistics.estimates import Floats
from pytest_kgate.statistics.estimates import Interval
from pytest_kgate.statistics.estimates import invalid_samples
from pytest_kgate.statistics.estimates import resolution
from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.intervals.student_t import p_below
from pytest_kgate.statistics.wording import percent

if TYPE_CHECKING:
    from pytest_kgate.statistics.gate_facts import ProcessesFacts

_ZERO_SPREAD = 1e-12
"""Processes whose mean log ratios spread less than this agree but for the rounding of float64."""

_DIFFER = 0.01
"""Processes are said to differ where their rounds explain the spread of their means in less than 1 of 100 races."""

_MOST_WANTED = 50
"""More processes than this are not advised: at such a spread another bound is the way out."""


@dataclass(frozen=True)
class Run:
    """The samples of one process: for each arm, the net latency in seconds, (rounds, samples)."""

    candidate: Floats
    reference: Floats
    offset_sd: float = 0.0
    """Standard deviation of an offset of the log ratio that all processes may share, as in `judge_rounds`."""


@dataclass(frozen=True)
class Spread:
    """How far the processes agree: means and variances of their log ratios."""

    means: tuple[float, ...]
    """Mean log ratio of each process, over all its rounds."""
    errors: tuple[float, ...]
    """Standard error of each mean by its own rounds; NaN where there is but one round."""
    variance_of_means: float
    """Variance of the means over the processes, on which the verdict rests."""
    variance_within: float
    """The variance that the means would have if they differed by the noise of their rounds alone."""
    pooled: Interval | None
    """Of the ratio as if no process had an offset of its own: by the rounds' errors alone. Not for the verdict."""
    p_value: float
    """Chance of so large a spread where no process has an offset (F test of the two variances)."""

    @property
    def variance_between(self) -> float:
        """Variance of the processes' own offsets: that of the means less that within processes, at least 0."""
        return max(0.0, self.variance_of_means - self.variance_within)

    @property
    def differ(self) -> bool:
        """Whether the processes differ by more than their rounds explain."""
        return self.p_value < _DIFFER

    def to_dict(self, runs: Sequence[Run]) -> ProcessesFacts:
        """The spread in built-in types, for the record of a gate."""
        return {
            "ratios": [math.exp(mean) for mean in self.means],
            "standard_errors": [None if math.isnan(error) else error for error in self.errors],
            "rounds": [len(run.candidate) for run in runs],
            "variance_of_means": self.variance_of_means,
            "variance_within": None if math.isnan(self.variance_within) else self.variance_within,
            "variance_between": None if math.isnan(self.variance_within) else self.variance_between,
            "differ_p": None if math.isnan(self.p_value) else self.p_value,
            "pooled": self.pooled.to_dict() if self.pooled else None,
        }


def judge_processes(gate: SpeedGate, runs: Sequence[Run], tick_seconds: float = 0.0) -> tuple[Judgement, Spread | None]:
    """The verdict by a t interval over the processes' mean log ratios, at (1 - confidence) / 2 on each side.

    PASS also demands the classic rule, with the process as its unit: the mean ratio of the processes' medians is below
    the bound, and its t interval below 1 (below the bound, where that is larger). No spread where samples are invalid.

    Raises ValueError for fewer than three processes.
    """
    if len(runs) < 3:
        raise ValueError(f"{len(runs)} processes hold no useful measure of how processes differ")
    rounds = sum(len(run.candidate) for run in runs)
    for number, run in enumerate(runs, start=1):
        broken = invalid_samples("candidate", run.candidate) or invalid_samples("reference", run.reference)
        if broken:
            return Judgement(gate, Verdict.INVALID, f"process {number} of {len(runs)}: {broken}", rounds), None
    spread = _spread(gate, runs)
    alpha = (1 - gate.confidence) / 2
    mean, half, se = _interval(spread.means, alpha, runs, tick_seconds)
    distance = mean - math.log(gate.bound)
    p = _p_value(distance, half, se, len(runs))
    medians, medians_half, _ = _interval(_median_ratios(gate, runs), alpha, runs, tick_seconds)
    ratio = _as_ratio(mean, half, gate.confidence, "processes-t")
    verdict, reason = Verdict.INCONCLUSIVE, ""
    if distance - half > 0:
        verdict = Verdict.FAIL
        reason = (
            f"the ratio is {ratio.estimate:.4f} over {len(runs)} processes, and at least {ratio.low:.6g} at this "
            f"confidence: above the bound {gate.bound:g} by {percent(math.expm1(distance))}"
        )
    elif distance + half >= 0:
        reason = _undecided(gate, ratio, distance, half, spread, _shared_offset(runs))
    else:
        reason = _classic(gate, medians, medians_half)
        verdict = Verdict.INCONCLUSIVE if reason else Verdict.PASS
    return Judgement(
        gate,
        verdict,
        reason,
        rounds,
        ratio=ratio,
        ratio_of_medians=math.exp(medians),
        p_value=p,
        nominal_level=alpha,
        sequential_p=p,
    ), spread


def _spread(gate: SpeedGate, runs: Sequence[Run]) -> Spread:
    ratios = [estimates.log_ratios(run.candidate, run.reference, gate.quantile) for run in runs]
    means = tuple(float(one.mean()) for one in ratios)
    errors = tuple(_standard_error(one) for one in ratios)
    of_means = float(np.var(means, ddof=1))
    within = float(np.mean(np.square(errors)))
    pooled, p = None, math.nan
    if not math.isnan(within):
        freedom = sum(min(len(one), estimates.BLOCKS) - 1 for one in ratios)
        half = -float(special.stdtrit(freedom, (1 - gate.confidence) / 2)) * math.sqrt(within / len(runs))
        pooled = _as_ratio(float(np.mean(means)), half, gate.confidence, "pooled-t")
        p = _f_test(of_means, within, len(runs) - 1, freedom)
    return Spread(means, errors, of_means, within, pooled, p)


def _standard_error(ratios: Floats) -> float:
    """Standard error of one process's mean log ratio: from twelve blocks of rounds where there are as many."""
    whole = len(ratios) - len(ratios) % estimates.BLOCKS
    if whole:
        return estimates.block_test(ratios[:whole]).se
    return float(ratios.std(ddof=1)) / math.sqrt(len(ratios)) if len(ratios) > 1 else math.nan


def _f_test(of_means: float, within: float, above: int, below: int) -> float:
    if within == 0:
        return 1.0 if of_means <= _ZERO_SPREAD**2 else 0.0
    return float(special.fdtrc(above, below, of_means / within))


def _interval(
    values: Sequence[float], alpha: float, runs: Sequence[Run], tick_seconds: float
) -> tuple[float, float, float]:
    """Mean, half-width and standard error over processes.

    Where all processes agree exactly, and share no offset, the half-width is one tick of the timer.
    """
    count = len(values)
    mean, sd, offset = float(np.mean(values)), float(np.std(values, ddof=1)), _shared_offset(runs)
    if sd < _ZERO_SPREAD and not offset:
        return mean, max(resolution(run.candidate, run.reference, tick_seconds) for run in runs), 0.0
    se = math.hypot(sd / math.sqrt(count), offset)
    return mean, -float(special.stdtrit(count - 1, alpha)) * se, se


def _shared_offset(runs: Sequence[Run]) -> float:
    """The largest of the processes' `offset_sd`: one that they share is not averaged out over them."""
    return max(run.offset_sd for run in runs)


def _p_value(distance: float, half: float, se: float, count: int) -> float:
    """One-sided p value of `ratio >= bound`; 0, 0.5 or 1 where the processes agree exactly."""
    if not se and abs(distance) <= half:
        return 0.5
    return p_below(distance, se, count - 1)


def _median_ratios(gate: SpeedGate, runs: Sequence[Run]) -> list[float]:
    """Log ratio of each process's medians: of all samples, or of its rounds' quantiles."""

    def median(samples: Floats) -> float:
        found = samples if gate.quantile == 0.5 else estimates.estimate(samples, gate.quantile)
        return float(np.median(found))

    return [math.log(median(run.candidate) / median(run.reference)) for run in runs]


def _classic(gate: SpeedGate, medians: float, half: float) -> str:
    """Why the classic rule does not let the gate pass; empty where it does."""
    below = "the interval of the ratio is below the bound, but "
    if medians >= math.log(gate.bound):
        return below + f"the processes' ratio of medians {math.exp(medians):.4f} is not below the bound {gate.bound:g}"
    allowed = max(1.0, gate.bound)
    if medians + half >= math.log(allowed):
        return below + (
            f"that of the processes' ratio of medians reaches {math.exp(medians + half):.4f}, not below {allowed:g}: "
            "medians vary more, or in coarser ticks, than the means that the ratio is made of"
        )
    return ""


def _undecided(gate: SpeedGate, ratio: Interval, distance: float, half: float, spread: Spread, offset_sd: float) -> str:
    count = len(spread.means)
    sd = math.sqrt(spread.variance_of_means)
    what = (
        f"over {count} processes the ratio is {ratio.estimate:.4f}, {percent(abs(math.expm1(distance)))} from the "
        f"bound {gate.bound:g}, and known only to within {percent(math.expm1(half))}, for the processes' own ratios "
        f"spread by {percent(sd)}; "
    )
    alpha = (1 - gate.confidence) / 2
    for wanted in range(count + 1, _MOST_WANTED + 1):
        if -float(special.stdtrit(wanted - 1, alpha)) * math.hypot(sd / math.sqrt(wanted), offset_sd) < abs(distance):
            return what + f"about {wanted} processes would decide it"
    return what + f"even {_MOST_WANTED} processes are unlikely to decide it: move the bound"


def _as_ratio(mean: float, half: float, confidence: float, method: str) -> Interval:
    return Interval.of_logs(mean - half, mean, mean + half, confidence, method)
