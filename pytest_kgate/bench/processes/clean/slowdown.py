"""How much slower the reference is where candidates run than in a clean process, and what that makes of a gate. Pure.

Both are timed in turn, a round here and a round there, so that what the machine does meanwhile is in both. A slow-down
that is beyond their noise, and beyond a margin for what differs honestly between two processes, is charged to the
candidate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from pytest_kgate.report.format import seconds

if TYPE_CHECKING:
    from pytest_kgate.statistics.gates import Judgement

PAIRS = (2, 8, 16, 48)
"""Rounds here and there after which to stop, unless what they say on average would turn a verdict. What little is known
after the last of these is then known as well as it will be."""

MARGINS = {"cuda": 0.05, "host": 0.15}
"""By kind of device, what a reference may take longer here than there for reasons that are no candidate's fault: memory
lies elsewhere in two processes, and the other arm leaves caches and thread pools in another state than its own calls
do."""

_CONFIDENCE = 0.999
"""That the slow-down is at least its lower end. Every gate that would pass is asked, and none should be accused."""


@dataclass(frozen=True)
class Slowdown:
    """The reference's latencies in the tests' process and in the clean one, in seconds."""

    here: tuple[float, ...]
    """Median seconds of a call of the reference in each round of the tests' process."""
    there: tuple[float, ...]
    """The same of the round that followed in the clean process."""
    margin: float
    """One of `MARGINS`."""

    @property
    def estimate(self) -> float:
        """How many times as long it takes here: the geometric mean over the pairs of rounds."""
        return math.exp(float(np.mean(self._logs)))

    @property
    def charged(self) -> float:
        """How many times as long the reference takes here, less the margin; 1 where that is not beyond doubt.

        Once that is shown it is the estimate, and not what is shown at least: noise such as comes from threads that
        spin would else pay for most of what they slow down.
        """
        proven = self._proven
        return max(proven, self.estimate / (1 + self.margin)) if proven > 1.0 else 1.0

    @property
    def _proven(self) -> float:
        """What the reference takes longer here beyond all doubt and the margin; 1 where it does not.

        The larger of two lower ends: Student's of the mean, and the sign test's of the median, which a few rounds in
        which other work held up one of the processes don't move.
        """
        logs = self._logs
        if len(logs) < 2 or not np.isfinite(logs).all():
            return 1.0
        error = float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
        low = float(np.mean(logs)) - float(special.stdtrit(len(logs) - 1, _CONFIDENCE)) * error
        below = int(special.bdtrik(1 - _CONFIDENCE, len(logs), 0.5))  # at most so many logs lie below the median
        if special.bdtr(below, len(logs), 0.5) <= 1 - _CONFIDENCE:
            low = max(low, float(np.sort(logs)[below]))
        return max(1.0, math.exp(low) / (1 + self.margin))

    def unproven(self, judgements: Sequence[Judgement]) -> Judgement | None:
        """The first gate that is not met against the reference of the clean process; None where all are."""
        return _first_missed(judgements, self.charged)

    def may_turn(self, judgements: Sequence[Judgement]) -> bool:
        """Whether a gate would not be met if the estimate were right, noise or not."""
        return _first_missed(judgements, self.estimate / (1 + self.margin)) is not None

    def sentence(self, judgement: Judgement, difference: str) -> str:
        """Why this gate is not met; `difference` is what the clean process leaves out, as a clause."""
        here, there = (float(np.median(found)) for found in (self.here, self.there))
        return (
            f"the reference takes {self.estimate:.3g} times as long in the tests' process ({seconds(here)}) as in a "
            f"clean one ({seconds(there)}), {difference}: against the reference there, a ratio "
            f"below {judgement.gate.bound:g} is not shown. Look for what slows it down here: replaced functions, "
            "settings, threads."
        )

    @property
    def _logs(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        with np.errstate(divide="ignore", invalid="ignore"):
            found: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = np.log(np.divide(self.here, self.there))
        return found


def _first_missed(judgements: Sequence[Judgement], charged: float) -> Judgement | None:
    if charged <= 1.0:
        return None
    for judgement in judgements:
        if judgement.ratio is not None and judgement.ratio.high * charged >= judgement.gate.bound:
            return judgement
    return None
