"""Judge a gate on the rounds of one race: by the interval at a look, and by the classic rule beside it. Pure."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pytest_kgate.statistics import estimates
from pytest_kgate.statistics import group_sequential
from pytest_kgate.statistics.estimates import Floats
from pytest_kgate.statistics.estimates import Interval
from pytest_kgate.statistics.estimates import invalid_samples
from pytest_kgate.statistics.estimates import resolution
from pytest_kgate.statistics.gate_facts import FEWEST_TO_FORESEE
from pytest_kgate.statistics.gate_facts import LOOKS
from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.intervals.bootstrap import bootstrap_difference
from pytest_kgate.statistics.intervals.bootstrap import bootstrap_ratio
from pytest_kgate.statistics.intervals.student_t import p_below
from pytest_kgate.statistics.wording import counted
from pytest_kgate.statistics.wording import percent
from pytest_kgate.statistics.wording import seconds


def judge_rounds(
    gate: SpeedGate,
    candidate: Floats,
    reference: Floats,
    *,
    seed: int,
    final: bool = False,
    tick_seconds: float = 0.0,
    offset_sd: float = 0.0,
) -> Judgement | None:
    """The judgement after these rounds; None where more rounds are needed.

    `candidate` and `reference` are net latencies in seconds, (rounds, samples). A gate is decided only at the looks. A
    final call between two looks falls back on the latest look, since one more look would raise the error rate.
    `tick_seconds` matters only where all blocks agree exactly; see `resolution`. `offset_sd` is the standard deviation
    of what the log ratio of a whole race is off by, which none of its rounds shows; 0 where arms share a process.

    The bootstrap that PASS demands is computed only when the rest of the rule holds. The intervals that a
    record shows beside it are filled in by `with_bootstrap_intervals`.

    Raises ValueError where the arrays' shapes differ.
    """
    candidate, reference = _checked(candidate, reference)
    rounds = len(candidate)
    broken = invalid_samples("candidate", candidate) or invalid_samples("reference", reference)
    if broken:
        return Judgement(gate, Verdict.INVALID, broken, rounds)
    final = final or rounds >= LOOKS[-1]
    if not final and rounds not in LOOKS:
        return None
    look = group_sequential.look_at(rounds)
    if look is None:
        first = LOOKS[0]
        taken = f"{counted(rounds, 'round')} {'was' if rounds == 1 else 'were'} taken"
        what = f"{taken}, and the first look needs {first}; raise the budget"
        foreseen = _rounds_by_few(gate, candidate, reference)
        return Judgement(gate, Verdict.INCONCLUSIVE, what, rounds, rounds_to_decide=foreseen)
    candidate, reference = candidate[: LOOKS[look]], reference[: LOOKS[look]]

    critical = group_sequential.critical_values(gate.confidence)[look]
    test = estimates.block_test(estimates.log_ratios(candidate, reference, gate.quantile))
    se = math.hypot(test.se, offset_sd)
    half = critical * se if se else resolution(candidate, reference, tick_seconds)
    interval = _interval(test.mean, half, gate.confidence)
    distance = test.mean - math.log(gate.bound)
    locations = _locations(gate, candidate), _locations(gate, reference)
    medians = float(np.median(locations[0])), float(np.median(locations[1]))
    judgement = Judgement(
        gate,
        Verdict.INCONCLUSIVE,
        "",
        rounds,
        look=look,
        ratio=interval,
        ratio_of_medians=medians[0] / medians[1],
        autocorrelation=test.autocorrelation,
        p_value=p_below(distance, se, estimates.BLOCKS - 1),
        nominal_level=p_below(-critical, 1.0, estimates.BLOCKS - 1),
        sequential_p=group_sequential.sequential_p(_statistic(distance, half, se), look, gate.confidence),
    )

    if gate.rule == "classic":
        if not final:
            return None
        judgement = replace(judgement, sequential_p=None)
        missing, difference = _classic(gate, *locations, *medians, seed=seed)
        verdict = Verdict.FAIL if missing else Verdict.PASS
        return replace(judgement, verdict=verdict, reason=missing, bootstrap_difference=difference)
    if distance - half > 0:
        what = f"the ratio is {interval.estimate:.4f}, and at least {interval.low:.6g} at this confidence: "
        what += f"above the bound {gate.bound:g} by {percent(math.expm1(distance))}"
        return replace(judgement, verdict=Verdict.FAIL, reason=what)
    if distance + half < 0:
        missing, difference = _classic(gate, *locations, *medians, seed=seed)
        judgement = replace(judgement, bootstrap_difference=difference)
        if not missing:
            return replace(judgement, verdict=Verdict.PASS)
        what = f"the interval of the ratio is below the bound, but {missing}"
    else:
        what, needed = _undecided(judgement, distance, test.se, offset_sd, half)
        judgement = replace(judgement, rounds_to_decide=needed)
    return replace(judgement, reason=what) if final else None


def with_bootstrap_intervals(judgement: Judgement, candidate: Floats, reference: Floats, *, seed: int) -> Judgement:
    """The judgement with both bootstrap intervals, for the record; call it once, on the final judgement.

    Takes some 10 ms at 96 rounds. Rounds after the look that decided are left out, as they are in the
    judgement.
    """
    if judgement.look is None:
        return judgement
    gate = judgement.gate
    rounds = LOOKS[judgement.look]
    candidate, reference = candidate[:rounds], reference[:rounds]
    ratios = estimates.log_ratios(candidate, reference, gate.quantile)
    ratio = bootstrap_ratio(ratios, gate.confidence, seed=seed)
    difference = judgement.bootstrap_difference or _difference(
        gate, _locations(gate, candidate), _locations(gate, reference), seed
    )
    return replace(judgement, bootstrap_ratio=ratio, bootstrap_difference=difference)


def measure(
    candidate: Floats,
    reference: Floats,
    *,
    quantile: float = 0.5,
    confidence: float = 0.95,
    offset_sd: float = 0.0,
) -> Interval | None:
    """The interval of the latency ratio at the latest look, whatever a gate demands; None before the first look.

    `offset_sd` is as in `judge_rounds`.
    """
    candidate, reference = _checked(candidate, reference)
    look = group_sequential.look_at(len(candidate))
    if look is None or invalid_samples("candidate", candidate) or invalid_samples("reference", reference):
        return None
    rounds = LOOKS[look]
    test = estimates.block_test(estimates.log_ratios(candidate[:rounds], reference[:rounds], quantile))
    critical = group_sequential.critical_values(confidence)[look]
    return _interval(test.mean, critical * math.hypot(test.se, offset_sd), confidence)


def precise_enough(
    candidate: Floats,
    reference: Floats,
    relative_width: float = 0.005,
    *,
    quantile: float = 0.5,
    confidence: float = 0.95,
) -> bool:
    """Whether the half-width of the ratio's interval is at most `relative_width`, as a share of the ratio.

    A race may stop there undecided. An offset of the whole race, which more rounds can't make smaller, is left out.
    """
    interval = measure(candidate, reference, quantile=quantile, confidence=confidence)
    return interval is not None and interval.high / interval.estimate - 1 < relative_width


def _checked(candidate: Floats, reference: Floats) -> tuple[Floats, Floats]:
    candidate = np.asarray(candidate, dtype=np.float64)
    reference = np.asarray(reference, dtype=np.float64)
    if candidate.ndim != 2 or candidate.shape != reference.shape:
        shapes = f"{candidate.shape} and {reference.shape}"
        raise ValueError(f"both arms must be (rounds, samples), not {shapes}")
    return candidate, reference


def _interval(mean: float, half: float, confidence: float) -> Interval:
    return Interval.of_logs(mean - half, mean, mean + half, confidence, "blocks-t")


def _statistic(distance: float, half: float, se: float) -> float:
    """By how many standard errors the ratio is below the bound.

    Where the standard error is 0 it is infinite, or 0 within `half` of the bound.
    """
    if se:
        return -distance / se
    return 0.0 if abs(distance) <= half else math.copysign(math.inf, -distance)


def _locations(gate: SpeedGate, samples: Floats) -> Floats:
    """The values whose medians the classic rule compares: all samples, or each round's quantile, (rounds, 1)."""
    if gate.quantile == 0.5:
        return samples
    return estimates.estimate(samples, gate.quantile)[:, None]


def _difference(gate: SpeedGate, candidate: Floats, reference: Floats, seed: int) -> Interval:
    # A bound above 1 allows the candidate to be slower; the difference must then be taken to what is allowed.
    return bootstrap_difference(candidate, reference, max(1.0, gate.bound), gate.confidence, seed=seed)


def _classic(
    gate: SpeedGate, candidate: Floats, reference: Floats, fast: float, slow: float, *, seed: int
) -> tuple[str, Interval | None]:
    """Why the classic rule does not let the gate pass (empty where it does), and its interval if that was computed."""
    if not fast < gate.bound * slow:
        return f"the ratio of medians {fast / slow:.4f} is not below the bound {gate.bound:g}", None
    difference = _difference(gate, candidate, reference, seed)
    if difference.high < 0:
        return "", difference
    against = "the reference's" if gate.bound <= 1 else f"{gate.bound:g} times the reference's"
    return (
        f"the bootstrap interval of the candidate's median less {against} reaches "
        f"{seconds(difference.high, signed=True)}, not below 0: medians vary more, or in coarser ticks, than the "
        "means that the ratio is made of",
        difference,
    )


def _rounds_by_few(gate: SpeedGate, candidate: Floats, reference: Floats) -> int:
    """The look at which a race that ended before the first look would likely be decided, judged by its few rounds."""
    if len(candidate) < FEWEST_TO_FORESEE:
        return LOOKS[0]
    ratios = estimates.log_ratios(candidate, reference, gate.quantile)
    distance, sd = abs(float(ratios.mean()) - math.log(gate.bound)), float(ratios.std(ddof=1))
    for look, value in zip(LOOKS, group_sequential.critical_values(gate.confidence), strict=True):
        if value * sd / math.sqrt(look) < distance:
            return look
    return LOOKS[-1]


def _undecided(
    judgement: Judgement, distance: float, se: float, offset_sd: float, half: float
) -> tuple[str, int | None]:
    """What an undecided gate needs, as a sentence, and the number of rounds where more of them would decide it.

    `se` is the standard error that the rounds have shown, `half` the half-width that follows. Where none of the looks
    would, the sentence advises a quieter machine or another bound.
    """
    assert judgement.ratio is not None
    assert judgement.look is not None
    gate = judgement.gate
    taken = LOOKS[judgement.look]
    critical = group_sequential.critical_values(gate.confidence)
    # The standard error shrinks with the root of the rounds, an offset does not; the critical value is the look's.
    enough = [
        look
        for look, value in zip(LOOKS, critical, strict=True)
        if look > taken and value * math.hypot(se * math.sqrt(taken / look), offset_sd) < abs(distance)
    ]
    what = (
        f"after {taken} of {LOOKS[-1]} rounds the ratio is {judgement.ratio.estimate:.4f}, "
        f"{percent(abs(math.expm1(distance)))} from the bound {gate.bound:g}, "
        f"and known only to within {percent(math.expm1(half))}; "
    )
    if enough:
        return what + f"about {enough[0]} rounds would decide it: raise the budget", enough[0]
    if critical[-1] * offset_sd >= abs(distance):
        return (
            what + "two processes may differ by so much all along: race in one, or move the bound",
            None,
        )
    if taken < LOOKS[-1]:
        what += f"even {LOOKS[-1]} rounds are unlikely to decide it: "
    return what + "make the machine quieter (fixed clocks, nothing else running), or move the bound", None
