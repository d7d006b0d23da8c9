"""Estimates that are put together: over shapes to a geometric mean, over races to one of all their rounds. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import replace

from pytest_kgate.search.policy.trial import Estimate
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.statistics.intervals.welch import welch_freedom


def over_shapes(estimates: Iterable[Estimate]) -> Estimate:
    """The mean of the log ratios of all shapes, hence the log of the geometric mean of the ratios.

    Its rounds are those of the shape that has fewest.
    """
    found = list(estimates)
    return _combined(found, [1 / len(found)] * len(found), min(one.rounds for one in found))


def over_races(one: Trial, later: Trial) -> Trial:
    """The later trial of a candidate with the estimates of both, each weighted by its rounds.

    Both races count, since the first alone decided whether there was a second: the later one alone would forget why,
    and a mean of both is less flattered than the first.
    """
    if not (one.raced and later.raced):
        return later
    pooled = {
        name: _pooled(one.estimates[name], estimate) if name in one.estimates else estimate
        for name, estimate in later.estimates.items()
    }
    objective = over_shapes(pooled.values()) if pooled else later.objective
    seconds = {name: one.seconds.get(name, 0.0) + value for name, value in later.seconds.items()}
    return replace(later, estimates=pooled, objective=objective, seconds={**one.seconds, **seconds})


def _pooled(one: Estimate, other: Estimate) -> Estimate:
    rounds = one.rounds + other.rounds
    return _combined([one, other], [one.rounds / rounds, other.rounds / rounds], rounds)


def _combined(estimates: Sequence[Estimate], weights: Sequence[float], rounds: int) -> Estimate:
    mean = math.fsum(weight * one.log_ratio for weight, one in zip(weights, estimates, strict=True))
    if any(math.isnan(one.stderr) for one in estimates):
        return Estimate(mean, math.nan, 0.0, rounds)
    variances = [(weight * one.stderr) ** 2 for weight, one in zip(weights, estimates, strict=True)]
    freedom = welch_freedom(variances, [one.degrees for one in estimates])
    return Estimate(mean, math.sqrt(math.fsum(variances)), freedom, rounds)
