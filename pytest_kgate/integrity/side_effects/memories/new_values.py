"""What new values cost the arms of a race: whether the candidate's latency is that of work, or of remembering. Pure.

In each probed round one row of either arm meets values that it has not seen, and the round's other rows values that it
has. An honest kernel takes the same time for both, but for noise. So its row on new values is as likely to be at any
rank among its rows as at any other, whatever the noise is like, for where it stands in the round was drawn at random.
The ranks of all probes together are the evidence, not a largest or a smallest time: a candidate that is slow on old
values now and then, so that its slowest row on them is as slow as the one on new values, must be so in most rows to
have the ranks of an honest one, and then it is slow in the race as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_kgate.report.format import seconds
from pytest_kgate.statistics.gates import Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_kgate.device.protocol import FirstLook
    from pytest_kgate.statistics.gates import Judgement

    Floats = NDArray[np.float64]

_DEAR = 0.5
"""Share of the candidate's latency by which a first look at values may cost more than the next."""

_SLACK_SECONDS = 1e-6
"""The same for a kernel so short that an event's jitter is a share of it."""

CHANCE = 1e-4
"""The probability, at most, with which noise alone is taken for what new values cost."""

_FEWEST = 3
"""Probes from which anything is said: one or two may have met an interrupt."""

_MANY = 6
"""Probes of which most must be slow on new values to leave a doubt; of fewer, one is enough."""


@dataclass(frozen=True)
class NewValues:
    """What new values cost in one race."""

    candidate_seconds: float
    """Latency of the candidate: the median of its samples."""
    reference_seconds: float
    candidate_excess: float
    """Median of the seconds by which the candidate's rows on new values took longer than its others of the round."""
    reference_excess: float
    chance: float
    """The probability with which noise alone would put the candidate's rows on new values so far behind its others,
    after what they may cost is taken off."""
    doubtful: bool
    """Whether the probes leave open that new values cost too much: more of them will tell."""

    @property
    def dear(self) -> bool:
        """Whether new values cost the candidate clearly more than they may."""
        return self.chance <= CHANCE

    @property
    def text(self) -> str:
        """The finding as a clause."""
        beyond = self.candidate_excess - max(0.0, self.reference_excess)
        return (
            f"the candidate takes {seconds(beyond)} longer on values that it has not seen, and "
            f"{seconds(self.candidate_seconds)} on those that it has"
        )

    def ratio_on_new_values(self) -> float:
        """About the ratio of the latencies where every call meets new values: rows tell what the first calls cost more.

        Too high where several calls of a row are slower than its last: then single calls must tell.
        """
        candidate, reference = self.candidate_seconds + self.candidate_excess, self.reference_excess
        return candidate / (self.reference_seconds + max(0.0, reference))

    def turned(self, judgements: Sequence[Judgement], ratio: float | None = None) -> str | None:
        """One sentence where a gate passes on values that come again and would not on new ones; None otherwise.

        `ratio` is that on new values, where it was measured.
        """
        ratio = self.ratio_on_new_values() if ratio is None else ratio
        for judgement in judgements:
            if judgement.verdict is Verdict.PASS and ratio >= judgement.gate.bound:
                return (
                    f"{self.text}: it uses again what it has computed, or the processor has learned its branches; "
                    f"on new values its ratio is about {ratio:.3g}, and {judgement.gate.bound:g} is demanded"
                )
        return None


def compare(looks: Sequence[tuple[FirstLook, FirstLook]], samples: tuple[Floats, Floats]) -> NewValues | None:
    """What new values cost, from the probes of a race and its samples (latencies of either arm in seconds).

    What they cost the reference (they lie elsewhere in the caches) is allowed to the candidate as well. None where the
    samples say nothing.
    """
    if not looks or not all(np.isfinite(one).all() for one in samples):
        return None
    latencies = [float(np.median(one)) for one in samples]
    new, old = zip(*(_deviations([look[arm] for look in looks]) for arm in (0, 1)), strict=True)
    excess = [float(np.median(one)) for one in new]
    beyond = new[0] - (_DEAR * max(0.0, latencies[0]) + _SLACK_SECONDS + max(0.0, excess[1]))
    chance = 1.0
    if len(looks) >= _FEWEST:
        behind = (old[0][None, :] >= beyond[:, None]).sum(axis=1)
        chance = sum_of_uniforms(len(looks), float(((1 + behind) / (1 + old[0].size)).sum()))
    slow = float(np.max(beyond) if len(looks) < _MANY else np.median(beyond)) > 0
    return NewValues(latencies[0], latencies[1], excess[0], excess[1], chance, slow and chance > CHANCE)


def sum_of_uniforms(count: int, total: float) -> float:
    """The probability that so many numbers, uniform between 0 and 1, add up to `total` at most (Irwin and Hall)."""
    if total >= count / 2:
        return 1.0  # of no interest, and the sum below would lose its digits
    terms = ((-1) ** k * math.comb(count, k) * (total - k) ** count for k in range(math.floor(total) + 1))
    return min(1.0, max(0.0, math.fsum(terms) / math.factorial(count)))


def _deviations(looks: Sequence[FirstLook]) -> tuple[Floats, Floats]:
    """By how much each row differs from the median of the others of its round: those on new values, those on old."""
    rows = np.array([[look.new_seconds, *look.old_seconds] for look in looks])
    places = np.arange(rows.shape[1])
    others = np.array([np.delete(places, place) for place in places])
    apart = rows - np.median(rows[:, others], axis=2)
    return apart[:, 0], apart[:, 1:].reshape(-1)
