"""A search's candidates in the order of their estimates, with who can't be told apart. Pure.

The places are provisional. An estimate steers a search and flatters the best of many; only a confirmation claims.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_kgate.search.policy.elites import score
from pytest_kgate.search.policy.elites import thrift
from pytest_kgate.search.policy.trial import Confirmation
from pytest_kgate.search.policy.trial import Estimate
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.statistics.intervals.welch import welch_freedom

CONFIDENCE = 0.95
"""Two-sided level at which two candidates are told apart, each pair by itself."""


@dataclass(frozen=True)
class Place:
    """One candidate that was raced."""

    first: int
    """The best place that it can have, from 1: behind all that are surely faster."""
    last: int
    """The worst one."""
    trial: Trial
    confirmations: tuple[Confirmation, ...] = ()
    """Of this candidate, oldest first."""
    champion: bool = False

    @property
    def text(self) -> str:
        """`2`, or `1-3` where it can't be told from others."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    @property
    def status(self) -> str:
        """What confirmations said of the candidate."""
        if self.champion:
            return "champion"
        if not self.confirmations:
            return ""
        return "confirmed" if self.confirmations[-1].passed else "not confirmed"


def places(
    trials: Iterable[Trial],
    confirmations: Mapping[Configuration, Sequence[Confirmation]],
    champion: Configuration | None,
) -> list[Place]:
    """The raced candidates, the fastest estimate first, equal ones by what they take of an SM."""
    raced = sorted((one for one in trials if one.raced), key=lambda one: (score(one), thrift(one)))
    estimates = [one.objective for one in raced if one.objective is not None]
    found = []
    for trial, own in zip(raced, estimates, strict=True):
        ahead = sum(surely_faster(other, own) for other in estimates)
        behind = sum(surely_faster(own, other) for other in estimates)
        found.append(
            Place(
                ahead + 1,
                len(raced) - behind,
                trial,
                tuple(confirmations.get(trial.configuration, ())),
                trial.configuration == champion,
            )
        )
    return found


def surely_faster(one: Estimate, other: Estimate) -> bool:
    """Whether the estimates tell that `one` is faster, at `CONFIDENCE`, as if they shared no noise."""
    from pytest_kgate.statistics.intervals.student_t import p_below  # here, since every verb's --help would pay

    variances = [one.stderr**2, other.stderr**2]
    if not all(math.isfinite(value) for value in variances):
        return False
    distance = one.log_ratio - other.log_ratio
    degrees = welch_freedom(variances, [one.degrees, other.degrees])
    return p_below(distance, math.sqrt(sum(variances)), degrees) < (1 - CONFIDENCE) / 2
