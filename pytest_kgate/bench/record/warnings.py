"""Warnings of a record that follow from one part of it: from its check, or from what was asked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_kgate.build.compiler.ninja import build_of
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.wording import significant

if TYPE_CHECKING:
    from pytest_kgate.bench.correctness.comparison.outcome import Correctness
    from pytest_kgate.bench.race.race import Race
    from pytest_kgate.bench.request import Request

_APART = 1.5
"""The ratio of the medians over that of the rounds, or the other way round, from which they contradict each other. A
mean is within one standard deviation of the median, so that both arms' rounds must spread by 20 % for it: quiet ones
spread by a few."""


def of_check(correctness: Correctness, *, judged: bool) -> list[str]:
    """What to know of the check of answers beside its verdict; `judged`: whether a wrong answer fails the test."""
    warnings = []
    if correctness.verdict is not Verdict.PASS and not judged:
        warnings.append(f"the answer was not judged, but {correctness.reason}")
    if correctness.ill_conditioned:
        warnings.append(correctness.ill_conditioned)
    if correctness.coarse_exact:
        warnings.append(correctness.coarse_exact)
    if correctness.weak:
        warnings.append(
            f"the check is weak: it would also let pass {', '.join(correctness.weak)}; "
            "`kgate selftest` says which draws and checks find what"
        )
    return warnings


def of_race(race: Race) -> list[str]:
    """Where the medians, which are shown as latencies, tell another ratio than the rounds, which judge."""
    if race.ratio is None:
        return []
    medians, rounds = race.ratio_of_medians, race.ratio.estimate
    if abs(math.log(medians / rounds)) < math.log(_APART):
        return []
    return [
        f"some rounds took far longer than others: the ratio of the medians is {significant(medians)}, that of the "
        f"rounds {significant(rounds)}; a quieter machine tells which is right"
    ]


def of_request(request: Request) -> list[str]:
    """What is timed or judged otherwise than a gate's promise has it: debug builds, the classic rule, reruns."""
    warnings = []
    build = build_of(request.candidate)
    if request.times and build is not None and "-DKGATE_DEBUG" in build.flags:
        warnings.append("the candidate is a debug build: its device asserts are timed too")
    if request.speed and request.settings.rule == "classic":
        warnings.append(
            "judged by the classic rule, whose error rate is not controlled: of candidates that are exactly on a "
            "bound below 1, about half pass"
        )
    if request.speed and request.attempt > 1:
        warnings.append(
            "rerun of a test: each try may err half as often as the one before, so that this one needs a stronger "
            "result; a gate that is tried until it passes errs up to twice as often as promised"
        )
    return warnings
