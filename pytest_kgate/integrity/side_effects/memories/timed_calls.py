"""Calls that were timed one at a time, on new values and on known ones, and what their ranks tell. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_kgate.report.format import seconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LOOKS = (12, 24, 48, 96)
"""Pairs of a call on new values and one on known ones after which it is judged whether they differ. A memory that never
works for show is told by the first, one that works so in a quarter of its calls by the last."""

CHANCE = 2.5e-5
"""The probability of a false accusation at each look: 1e-4 at most at all of them."""

_DEAR = 0.5
"""Share of a call on known values by which one on new values may take longer."""

_DEAR_SECONDS = 5e-6
"""And these seconds: below them clocks and launches decide."""


@dataclass(frozen=True)
class TimedCalls:
    """Seconds of calls that were timed one at a time, by what was in the buffers of their inputs."""

    new: tuple[float, ...] = ()
    """Values never shown before."""
    again: tuple[float, ...] = ()
    """Values that were answered before, several times, though not by the call before."""
    same: tuple[float, ...] = ()
    """The values of the calls right before."""

    def slow_on_new(self, known: Sequence[float]) -> bool:
        """Whether calls on new values take clearly longer than these, and it is no chance."""
        enough = len(self.new) >= LOOKS[0] and len(known) > 0  # calls on the same values are made by lot, if at all
        return enough and chance(self._beyond(known), known) < CHANCE

    def seems_slow(self, known: Sequence[float]) -> bool:
        """Whether half of the calls on new values take clearly longer than a quarter of these: more pairs will tell.

        Of fewer pairs than a judgement needs, than any of these: a candidate may have forgotten its answers just
        before, or work for show for a while.
        """
        share = 0.25 if len(known) >= LOOKS[0] else 0.0
        quick = float(np.quantile(known, share)) if known else math.inf
        return float(np.median(self.new)) > (1 + _DEAR) * quick + _DEAR_SECONDS

    def _beyond(self, known: Sequence[float]) -> Floats:
        """Seconds of the calls on new values, without those by which they may be longer than these."""
        beyond: Floats = np.array(self.new) - _DEAR * float(np.median(known)) - _DEAR_SECONDS
        return beyond

    @property
    def decided(self) -> bool:
        """Whether more pairs would tell nothing more."""
        return not any(self.seems_slow(known) and not self.slow_on_new(known) for known in (self.again, self.same))

    def with_pair(self, times: Mapping[str, float]) -> TimedCalls:
        """These calls and one more pair, in seconds: on new values, on known ones, and maybe on the same ones."""
        same = (times["same"],) if "same" in times else ()
        return TimedCalls((*self.new, times["new"]), (*self.again, times["again"]), (*self.same, *same))

    def findings(self, *, on_host: bool) -> Iterator[str]:
        """One sentence for each kind of known values that are answered clearly faster than new ones.

        Not for the same values at once on a host, whose processor learns the branches of values that come again.
        """
        kinds = {"values that it has answered before": self.again}
        if not on_host:
            kinds["the values of the call before"] = self.same
        for which, known in kinds.items():
            if self.slow_on_new(known):
                new, old = (seconds(float(np.median(times))) for times in (self.new, known))
                yield f"the candidate remembers answers: a call on new values takes {new}, on {which} {old}."


def chance(new: Floats, known: Sequence[float]) -> float:
    """The probability with which one-sided noise alone puts `new` so far behind `known`: by the rank sum of Mann and
    Whitney, in its normal approximation, which errs on the side of no difference where the two are apart."""
    pairs = np.subtract.outer(new, np.array(known))
    ahead = float((pairs > 0).sum()) + 0.5 * float((pairs == 0).sum())
    spread = math.sqrt(pairs.size * (len(new) + len(known) + 1) / 12)
    return math.erfc((ahead - pairs.size / 2 - 0.5) / spread / math.sqrt(2)) / 2
