"""How many samples a round of a race has, in which order, and how long rounds are begun. Pure.

A verdict rests on what differs from round to round. Samples of a slow kernel agree with each other to a hundredth of a
percent, so that many of them in a round would cost time and tell nothing more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import TypeVar

import numpy as np

from pytest_kgate.bench.race.speed_of_light.judge import LightJudgement
from pytest_kgate.statistics.gate_facts import LOOKS
from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.group_sequential import SAMPLES
from pytest_kgate.statistics.wording import counted
from pytest_kgate.statistics.wording import significant

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Judged = TypeVar("_Judged", Judgement, LightJudgement)

_FEWEST_SAMPLES = 2
"""Of a slow kernel: docs/statistics.md has what they cost under noise of many kinds."""

_FORETELLING = 3
"""Rounds that tell how long the others will take."""

_OVERDRAFT = 1.25
"""By how much a race may exceed its budget to reach the first look: without one it was for nothing."""

_MEASURE_SHARE = 0.2
"""Of the budget: what a race that judges nothing may spend on a narrower interval, once it has reached the first
look."""


@dataclass(frozen=True)
class Budget:
    """The seconds of one race, and what they are enough for."""

    seconds: float
    all_rounds: bool
    """Whether every round is wanted that there is room for, also where that is too few for a look."""
    measures: bool
    """Whether nothing is judged, and no precision was asked for."""
    rounds: int | None = None
    """Exactly so many are taken, whatever they cost; None where the seconds count."""

    def has_room(self, rounds: int, spent: float, fastest: float) -> bool:
        """Whether to begin one more round after so many, which took `spent` seconds, and the fastest of them `fastest`.

        What other work on the machine slows down is the mean of a few rounds, and less the fastest.
        """
        if self.rounds is not None:
            return rounds < self.rounds
        if self.all_rounds or rounds < _FORETELLING:
            return spent < self.seconds
        if rounds < LOOKS[0]:
            return spent + (LOOKS[0] - rounds) * fastest <= _OVERDRAFT * self.seconds
        return spent < (_MEASURE_SHARE * self.seconds if self.measures else self.seconds)

    def explained(self, judgement: _Judged, spent: float) -> _Judged:
        """The judgement; where the first look was out of reach, with the seconds that it takes as its reason."""
        if judgement.verdict is not Verdict.INCONCLUSIVE or not 0 < judgement.rounds < LOOKS[0]:
            return judgement
        needed = significant(spent / judgement.rounds * LOOKS[0], 2)
        reason = (
            f"the first look needs {LOOKS[0]} rounds, which take about {needed} s, "
            f"and the budget is {self.seconds:g} s: the race ended after {counted(judgement.rounds, 'round')}"
        )
        return replace(judgement, reason=reason)


def samples_of_a_round(
    sample_seconds: float, enough_seconds: float, budget_seconds: float, gates: Sequence[SpeedGate]
) -> int:
    """Samples of each arm: ten; of a slow kernel, or where 96 rounds of ten would not fit the budget, as few as two.

    A quantile far from the middle needs one sample beyond it in each round, or it is not that quantile any more.
    """
    fitting = min(enough_seconds, budget_seconds / LOOKS[-1]) / max(sample_seconds, 1e-9)
    quantiles = [gate.quantile for gate in gates if gate.quantile != 0.5]
    needed = max((math.ceil(1 / min(q, 1 - q) - 1e-9) for q in quantiles), default=_FEWEST_SAMPLES)
    return int(min(SAMPLES, max(needed, fitting)))


def shuffled_order(rng: np.random.Generator, samples: int, run_length: int, arms: int = 2) -> NDArray[np.intp]:
    """All arms' samples in random order, in runs of one arm; strict alternation would have a bias of its own.

    Of two samples each, one arm's are the outer ones, by lot: what rises evenly within the round then cancels, which it
    would do only over many rounds in an order that is wholly random. Of more arms, each arm's two are as far from one
    end as from the other.
    """
    if samples == 2 and run_length == 1 and arms > 2:
        half = rng.permutation(arms)
        return np.concatenate([half, half[::-1]])
    if samples == 2 and run_length == 1:
        outer = rng.integers(2)
        return np.array([outer, 1 - outer, 1 - outer, outer], dtype=np.intp)
    runs = -(-samples // run_length)
    if runs == samples:
        return rng.permutation(arms * runs) // runs
    lengths = np.full(runs, samples // runs)
    lengths[: samples % runs] += 1
    of_arm, which = np.divmod(rng.permutation(arms * runs), runs)
    return np.repeat(of_arm, lengths[which])
