"""Who is raced on: successive halving on estimates, as candidates come in batches. Pure.

Rounds are spent where they matter: all candidates get three, of those the best quarter twelve more, of those the best
quarter 48 more, so that each stage takes about as much of the device's time as the one before. A candidate is ranked
among all that have come to its stage so far, those of its own batch among them, whichever came back first.

(Jamieson and Talwalkar, AISTATS 2016; promoted as they come: Li et al., MLSys 2020. Halving picks, it claims nothing.)
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

STAGES = (3, 12, 48)
"""Rounds of each stage, on top of those before. Three are the fewest that show a spread; four times as many halve the
error of an estimate."""

KEPT = 4
"""One of so many goes on to the next stage: as many as its rounds are more."""


class Halving:
    """Successive halving: keeps the scores that each stage has seen, by which candidates go on."""

    def __init__(self, stages: Sequence[int] = STAGES) -> None:
        self._seen: list[list[float]] = [[] for _ in stages]

    def promoted(self, stage: int, scores: Sequence[float]) -> list[bool]:
        """Which candidates of a batch go on to the next stage, by their scores at this one (least is best)."""
        seen = self._seen[stage]
        for score in scores:
            bisect.insort(seen, score)
        places = math.ceil(len(seen) / KEPT)
        return [bisect.bisect_left(seen, score) < places for score in scores]
