"""Findings from the gates of a calibration: error rates, noise floor, accuracy, acceptance of the device. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from pytest_kgate.statistics.estimates import BLOCKS
from pytest_kgate.statistics.gate_facts import LOOKS
from pytest_kgate.statistics.group_sequential import critical_values
from pytest_kgate.statistics.intervals.binomial import upper_limit
from pytest_kgate.validation.calibrate.cases import UNAVAILABLE
from pytest_kgate.validation.calibrate.cases import Case
from pytest_kgate.validation.calibrate.findings.error_rates import Count
from pytest_kgate.validation.calibrate.findings.error_rates import Gate
from pytest_kgate.validation.calibrate.findings.error_rates import count
from pytest_kgate.validation.calibrate.findings.error_rates import most_allowed

FEWEST_JUDGED = 0.95
"""Smallest share of gates that must end with a verdict on the ratio, for the rates to mean anything: INVALID and ERROR
judge nothing."""

SHOULD_PASS = 0.95
"""Smallest share of PASS among the gates on kernels whose ratio is half a percent or more below the bound."""

_POWER = 0.9
"""Share of races that must be decided at a distance from the bound that counts as resolved."""


@dataclass(frozen=True)
class CaseSummary:
    """The counts, latency, ratio and noise floor of the gates of one case."""

    case: Case
    count: Count
    reference_seconds: float | None
    """Median of the gates' medians."""
    ratio: float | None
    """Mean over the gates."""
    ratio_sd: float | None
    """Standard deviation over the gates."""
    half_width: float | None
    """Median half-width of the interval at 96 rounds, as a fraction: the noise floor; None where no gate got there."""
    resolved: float | None
    """Smallest distance from the bound that a race decides within its budget, nine times out of ten."""
    seconds: float
    """Median duration of a gate, all its steps included."""


@dataclass(frozen=True)
class Accuracy:
    """The error of measured ratios and latencies against the true ones, for one case of known ratio."""

    case: Case
    count: Count
    truth: float
    """Mean true ratio."""
    measured: float
    """Mean ratio."""
    error: float
    """Mean of measured / truth - 1 over the gates."""
    standard_error: float
    """Of `error`, from its spread over the gates; 0 of one gate."""
    candidate_bias_seconds: float
    """Mean reading less the model's."""
    reference_bias_seconds: float
    floor_seconds: float
    """Median: what the timer reads of a spin beyond its cycles."""
    null_seconds: float
    """Median: what it reads of an empty kernel."""
    clock_hz: float

    @property
    def allowed(self) -> float:
        """The largest allowed error: 0.5 % at 2 us, where a timer's step of 32 ns is 1.6 % of a launch; else 0.3 %."""
        return 0.005 if (self.case.seconds or 1.0) < 5e-6 else 0.003

    @property
    def accurate(self) -> bool:
        """Whether the error is at most the allowed one."""
        return abs(self.error) <= self.allowed


@dataclass(frozen=True)
class Check:
    """One demand on the device, what was found, and whether that meets it."""

    name: str
    met: bool
    detail: str


@dataclass(frozen=True)
class Findings:
    """All findings of a calibration."""

    same: tuple[CaseSummary, ...]
    """The cases of kernels raced against themselves."""
    overall: Count
    """Of those."""
    accuracy: tuple[Accuracy, ...]
    must_fail: Count
    should_pass: Count
    acceptance: tuple[Check, ...]
    """The device is accepted where all are met."""
    goals: tuple[Check, ...]
    """What is aimed at beyond acceptance."""

    @property
    def accepted(self) -> bool:
        """Whether gates on this device err as rarely as they promise: all demands of acceptance are met."""
        return all(check.met for check in self.acceptance)


def findings_of(gates: Sequence[Gate], cases: Iterable[Case]) -> Findings:
    """The findings from these gates; cases without gates are left out."""
    raced = [gate for gate in gates if gate["verdict"] != UNAVAILABLE]
    by_case = {case: [gate for gate in raced if gate["case"] == case.name] for case in cases}
    same = tuple(_case_summary(case, own) for case, own in by_case.items() if case.group == "aa" and own)
    overall = count([gate for case, own in by_case.items() if case.group == "aa" for gate in own])
    known = {case: own for case, own in by_case.items() if case.group == "truth" and own}
    accuracies = tuple(found for case, own in known.items() if (found := accuracy(case, own)) is not None)
    must_fail = count([gate for case, own in known.items() if (case.true_ratio or 0) > case.bound for gate in own])
    should_pass = count([gate for case, own in known.items() if (case.true_ratio or 9) < case.bound for gate in own])
    return Findings(
        same=same,
        overall=overall,
        accuracy=accuracies,
        must_fail=must_fail,
        should_pass=should_pass,
        acceptance=tuple(_acceptance(same, overall, must_fail)),
        goals=tuple(_goals(accuracies, should_pass)),
    )


def _case_summary(case: Case, gates: Sequence[Gate]) -> CaseSummary:
    """Summarise the gates of one case, of which there must be at least one."""
    estimates = [float(gate["ratio"]["estimate"]) for gate in gates if gate.get("ratio")]
    latencies = [float(gate["reference_seconds"]) for gate in gates if gate.get("reference_seconds") is not None]
    full = [half_width(gate) for gate in gates if gate.get("ratio") and gate["look"] == len(LOOKS) - 1]
    return CaseSummary(
        case=case,
        count=count(gates),
        reference_seconds=statistics.median(latencies) if latencies else None,
        ratio=statistics.fmean(estimates) if estimates else None,
        ratio_sd=statistics.stdev(estimates) if len(estimates) > 1 else None,
        half_width=statistics.median(full) if full else None,
        resolved=_resolved(gates),
        seconds=statistics.median(float(gate["seconds"]) for gate in gates),
    )


def half_width(gate: Gate) -> float:
    """The half-width of a gate's interval of the ratio, as a fraction of the ratio."""
    ratio = gate["ratio"]
    return float(ratio["high"]) / float(ratio["estimate"]) - 1


def _resolved(gates: Sequence[Gate]) -> float | None:
    """The smallest distance from the bound that these races decide nine times out of ten, as a fraction of the ratio.

    Where the true ratio is one half-width from the bound, half of the races are decided, as half of the estimates fall
    on the far side of it. For nine of ten the distance must be larger by the 0.9 quantile of Student's t, in standard
    errors; a half-width is the critical value of the race's last look, in standard errors.
    """
    # A verdict ends a race early, so only those without one show how far the budget reaches.
    undecided = [gate for gate in gates if gate.get("ratio") and gate["verdict"] == "INCONCLUSIVE"]
    if not undecided:
        return None
    widths = []
    for gate in undecided:
        critical = critical_values(float(gate["ratio"]["confidence"]))[int(gate["look"])]
        further = float(special.stdtrit(BLOCKS - 1, _POWER)) / critical
        widths.append(half_width(gate) * (1 + further))
    return statistics.median(widths)


def accuracy(case: Case, gates: Sequence[Gate]) -> Accuracy | None:
    """Measured ratios against the true ones of the spin model; None where no gate has both."""
    usable = [gate for gate in gates if gate.get("ratio") and gate.get("spin")]
    if not usable:
        return None
    spins = [gate["spin"] for gate in usable]
    errors = [
        float(gate["ratio"]["estimate"]) / float(spin["true_ratio"]) - 1
        for gate, spin in zip(usable, spins, strict=True)
    ]

    def bias(arm: str) -> float:
        return statistics.fmean(
            float(gate[f"{arm}_seconds"]) - float(gate["spin"][f"{arm}_model_seconds"]) for gate in usable
        )

    return Accuracy(
        case=case,
        count=count(gates),
        truth=statistics.fmean(float(spin["true_ratio"]) for spin in spins),
        measured=statistics.fmean(float(gate["ratio"]["estimate"]) for gate in usable),
        error=statistics.fmean(errors),
        standard_error=statistics.stdev(errors) / len(errors) ** 0.5 if len(errors) > 1 else 0.0,
        candidate_bias_seconds=bias("candidate"),
        reference_bias_seconds=bias("reference"),
        floor_seconds=statistics.median(float(value) for spin in spins for value in spin["floor_seconds"]),
        null_seconds=statistics.median(float(value) for spin in spins for value in spin["null_seconds"]),
        clock_hz=statistics.median(float(value) for spin in spins for value in spin["clock_hz"]),
    )


def _acceptance(same: Sequence[CaseSummary], overall: Count, must_fail: Count) -> Iterable[Check]:
    allowed = most_allowed(overall.judged)
    for name, false in (("PASS", overall.passed), ("FAIL", overall.failed)):
        detail = _found(false, overall.judged, allowed)
        yield Check(f"false {name} of equal kernels", overall.judged > 0 and false <= allowed, detail)
    for name in ("PASS", "FAIL"):
        of = {one.case.name: one.count.passed if name == "PASS" else one.count.failed for one in same}
        odd = [
            f"{one.case.name} {of[one.case.name]} of {one.count.judged}"
            for one in same
            if not one.count.explained(of[one.case.name])
        ]
        detail = ", ".join(odd) or f"none of {len(same)} cases above what 2.5 % explains"
        yield Check(f"false {name} by case", not odd, detail)
    broken = overall.broken / overall.gates if overall.gates else 0.0
    yield Check("gates judged", 1 - broken >= FEWEST_JUDGED, f"{overall.judged} of {overall.gates}")
    if must_fail.judged:
        allowed = most_allowed(must_fail.judged)
        detail = _found(must_fail.passed, must_fail.judged, allowed)
        yield Check("passes of kernels that must fail", must_fail.passed <= allowed, detail)


def _found(false: int, gates: int, allowed: int) -> str:
    """The count, what is allowed, and the upper 95 % confidence limit of the rate (Clopper-Pearson)."""
    text = f"{false} of {gates}, at most {allowed} allowed"
    if not gates:
        return text
    return f"{text}; 95 % sure that the rate is below {upper_limit(false, gates, 0.95) * 100:.1f} %"


def _goals(accuracies: Sequence[Accuracy], should_pass: Count) -> Iterable[Check]:
    if accuracies:
        off = [f"{one.case.name} {one.error * 100:+.2f} %" for one in accuracies if not one.accurate]
        detail = ", ".join(off) or "all within 0.3 % of the truth (0.5 % at 2 us)"
        yield Check("accuracy", not off, detail)
    if should_pass.judged:
        share = should_pass.passed / should_pass.judged
        detail = f"{should_pass.passed} of {should_pass.judged} kernels below the bound passed"
        yield Check("power", share >= SHOULD_PASS, detail)
