"""Judge a demand on two arms that were measured apart, in processes that share no round. Pure.

In a race, what both arms of a round share (a clock, heat, a neighbour) cancels in their ratio, and the process is the
same for both. Measured apart, what differs from round to round and from process to process stands fully in the ratio.
Several processes a side show how large that is, and are the unit; of fewer the size is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from pytest_kgate.statistics import estimates
from pytest_kgate.statistics.estimates import ZERO_SPREAD
from pytest_kgate.statistics.estimates import Floats
from pytest_kgate.statistics.estimates import Interval
from pytest_kgate.statistics.estimates import invalid_samples
from pytest_kgate.statistics.estimates import resolution
from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.intervals.bootstrap import bootstrap_apart
from pytest_kgate.statistics.intervals.welch import welch_freedom
from pytest_kgate.statistics.wording import counted
from pytest_kgate.statistics.wording import percent

ENOUGH_PROCESSES = 3
"""A side, for the rule over processes: of two, the one difference says next to nothing of how they spread."""

OFFSET_SD = 0.005
"""By which the log ratio of two processes is off as long as they live, where too few of them show it: that of kernels
against themselves on three H100, 103 races (docs/statistics.md, "Special cases")."""

FEWEST_ROUNDS = 12
"""Of each process."""


def judge_apart(
    gate: SpeedGate,
    candidate: Sequence[Floats],
    reference: Sequence[Floats],
    *,
    seed: int = 42,
    tick_seconds: float = 0.0,
) -> Judgement:
    """The verdict on processes of each arm: latencies in seconds, (rounds, samples) of each.

    With three processes a side and more, a Welch t interval of the difference of the processes' mean log latencies,
    method `welch-t`. Of fewer, the classic bootstrap of medians over rounds, widened by an assumed offset of processes,
    method `medians-apart`: its error rate is not controlled. PASS also demands that the ratio of medians is below the
    bound.

    Raises ValueError where a process has fewer than twelve rounds.
    """
    rounds = sum(len(run) for run in (*candidate, *reference))
    for name, runs in (("candidate", candidate), ("reference", reference)):
        if not runs or min(len(run) for run in runs) < FEWEST_ROUNDS:
            raise ValueError(f"the {name} has a process of fewer than {FEWEST_ROUNDS} rounds")
        for run in runs:
            broken = invalid_samples(name, run)
            if broken:
                return Judgement(gate, Verdict.INVALID, broken, rounds)
    medians = _median(gate, candidate) / _median(gate, reference)
    by_processes = min(len(candidate), len(reference)) >= ENOUGH_PROCESSES
    interval = (
        _over_processes(gate, candidate, reference, tick_seconds)
        if by_processes
        else _of_medians(gate, candidate, reference, seed)
    )
    shown = f"the ratio is {interval.estimate:.4f}"
    verdict, reason = Verdict.INCONCLUSIVE, ""
    if interval.low > gate.bound:
        verdict = Verdict.FAIL
        reason = (
            f"{shown}, and at least {interval.low:.6g} at this confidence: above the bound {gate.bound:g} "
            f"by {percent(interval.estimate / gate.bound - 1)}"
        )
    elif interval.high >= gate.bound:
        far, within = abs(interval.estimate / gate.bound - 1), interval.high / interval.estimate - 1
        reason = (
            f"{shown}, {percent(far)} from the bound {gate.bound:g}, and known only to within {percent(within)}; "
            "measure both with more --processes, or race them in one process with kbench"
        )
    elif not medians < gate.bound:
        reason = f"the interval is below the bound, but the ratio of medians {medians:.4f} is not"
    else:
        verdict = Verdict.PASS
    return Judgement(gate, verdict, reason, rounds, ratio=interval, ratio_of_medians=medians)


def _over_processes(
    gate: SpeedGate, candidate: Sequence[Floats], reference: Sequence[Floats], tick_seconds: float
) -> Interval:
    """Welch's interval: the two sides' processes may spread differently."""
    means = [np.array([_log_latency(gate, run) for run in runs]) for runs in (candidate, reference)]
    distance = float(means[0].mean() - means[1].mean())
    parts = [float(one.var(ddof=1)) / len(one) for one in means]
    se = math.sqrt(sum(parts))
    if se < ZERO_SPREAD:
        half = resolution(np.concatenate(candidate), np.concatenate(reference), tick_seconds)
    else:
        freedom = welch_freedom(parts, [len(one) - 1 for one in means])
        half = -float(special.stdtrit(freedom, (1 - gate.confidence) / 2)) * se
    return Interval.of_logs(distance - half, distance, distance + half, gate.confidence, "welch-t")


def _of_medians(gate: SpeedGate, candidate: Sequence[Floats], reference: Sequence[Floats], seed: int) -> Interval:
    low, point, high = bootstrap_apart(
        _locations(gate, candidate), _locations(gate, reference), gate.confidence, seed=seed
    )
    offset = float(special.ndtri((1 + gate.confidence) / 2)) * OFFSET_SD
    low, high = point - math.hypot(point - low, offset), point + math.hypot(high - point, offset)
    return Interval.of_logs(low, point, high, gate.confidence, "medians-apart")


def _log_latency(gate: SpeedGate, run: Floats) -> float:
    return float(np.log(estimates.estimate(run, gate.quantile)).mean())


def _locations(gate: SpeedGate, runs: Sequence[Floats]) -> Floats:
    """What medians are taken of: all samples, or each round's quantile; (rounds of all processes, samples)."""
    if gate.quantile != 0.5:
        return np.concatenate([estimates.estimate(run, gate.quantile) for run in runs])[:, None]
    least = min(run.shape[1] for run in runs)  # processes of a slow kernel may have taken other numbers a round
    return np.concatenate([run[:, :least] for run in runs])


def _median(gate: SpeedGate, runs: Sequence[Floats]) -> float:
    return float(np.median(_locations(gate, runs)))


def rule_in_words(gate: SpeedGate, candidate: int, reference: int) -> str:
    """How `judge_apart` judges so many processes of the candidate and of the reference, in a sentence."""
    level = percent(1 - gate.confidence)
    if min(candidate, reference) >= ENOUGH_PROCESSES:
        return (
            f"t interval (Welch) over {counted(candidate, 'process')} of the candidate and {reference} of the "
            f"reference, which share no rounds; alpha {level}, two-sided"
        )
    return (
        f"classic: bootstrap of medians over rounds, widened by {percent(OFFSET_SD)} that two processes may differ by; "
        f"alpha {level}, two-sided, but its error rate is not controlled: measure both with --processes 5"
    )
