"""Probes: launches on new values among the timed ones, and the verdict on whether the timed launches did the work.

A check before the race shows that the candidate can compute the answer, not that it does so while it is timed. So some
rounds, which nothing announces, hold launches on new values (`device/probe_rows.py`). Their answers are compared
with the exact ones once the race is over, and their times with those of launches on values seen before.

A latency that is the slope over a row of launches is one only where each launch waits for the one before. Launches may
run at the same time (programmatic dependent launch, work that forks from an earlier call), and the slope is then the
inverse of a throughput. So probed rounds also time the candidate's calls with something between them that all wait for.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pytest_kgate.bench.seeds import Stream
from pytest_kgate.device.protocol import Probe
from pytest_kgate.report.format import seconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_kgate.bench.seeds import SeedBook
    from pytest_kgate.report.record.facts.timing import ProbesFacts

_EVERY = 4
"""One round of so many in a row is probed, which makes three before the first look."""

_KEPT_BYTES = 2**28
"""Of answers that a race keeps: of larger ones fewer probes are kept, and one at least."""

_KEPT = 4
"""Probes whose answers are kept, chosen at random; each holds two outputs, and to verify it costs exact answers."""

_FEWEST = 3
"""Probes from which a memory is told: one or two may have met an interrupt."""

_MANY = 6
"""Probes of which four tenths may be quick, and not just a quarter: noise alone puts each behind the slowest launch of
its row once in eleven times, four of six once in a thousand, before anything is demanded of how far behind it is."""

_REMEMBERING = 0.5
"""Share of the candidate's latency by which a first look at values may cost more than the next."""

_SLACK_SECONDS = 1e-6
"""The same for a kernel so short that an event's jitter is a share of it."""

_HIDDEN_SECONDS = 1.5e-6
"""What a call may hide behind the one before it: its launch and its set-up, where it is launched early and waits
(`griddepcontrol.wait`) before it touches memory. Launches in a graph follow each other within about a microsecond;
whoever hides clearly more has begun to work on inputs that the call before may still write."""

_HIDDEN = 0.05
"""And this share of its latency, for the noise of a row that is timed once a round."""


def is_probed(book: SeedBook, number: int) -> bool:
    """Whether the round of this number is probed: one of four in a row is."""
    block, place = divmod(number, _EVERY)
    return place == book.seed(Stream.PROBED_ROUND, block) % _EVERY


class Probes:
    """The probes of one race: the times of all, and the answers of a few, chosen at random after they were given."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, Probe]] = []
        self._excess: list[tuple[float, float]] = []
        self._overlap: list[float] = []

    def add(self, probe: Probe | None) -> None:
        """Add one probe; each has the same chance that its answers are among those kept (reservoir sampling)."""
        if probe is None:
            return
        self._excess.append(probe.first_touch_excess_seconds)
        if probe.overlap_seconds is not None:
            self._overlap.append(probe.overlap_seconds)
        most = _most_kept(probe)
        if len(self._kept) < most:
            self._kept.append((len(self._excess) - 1, probe))
            return
        place = secrets.randbelow(len(self._excess))  # no seed tells this lot
        if place < most:
            self._kept[place] = (len(self._excess) - 1, probe)

    @property
    def first_touch_excess_seconds(self) -> NDArray[np.float64]:
        """(probes, 2): how much longer each arm's launches took on new values than the slowest on old ones."""
        return np.array(self._excess, dtype=np.float64).reshape(-1, 2)

    @property
    def overlap_seconds(self) -> NDArray[np.float64]:
        """(probes,): seconds of a call that overlap with its neighbours; empty where the timer lets none overlap."""
        return np.array(self._overlap, dtype=np.float64)

    @property
    def kept(self) -> tuple[Probe, ...]:
        """The probes whose answers are to be compared with exact ones."""
        return tuple(probe for _, probe in self._kept)

    def release(self) -> None:
        """Let go of the answers, once they have been verified."""
        self._kept = [
            (number, replace(probe, answers=tuple((seed, None) for seed, _ in probe.answers)))
            for number, probe in self._kept
        ]

    def to_dict(self) -> ProbesFacts | None:
        """Built-in types, for the record; None where no round was probed."""
        if not self._excess:
            return None
        candidate, reference = np.median(self.first_touch_excess_seconds, axis=0).tolist()
        return {
            "rounds": len(self._excess),
            "verified": sum(len(probe.answers) for probe in self.kept),
            "lots": sorted(number for number, _ in self._kept),
            "surprise_seconds": {"candidate": candidate, "reference": reference},
            "hidden_seconds": float(np.median(self._overlap)) if self._overlap else None,
        }


def _most_kept(probe: Probe) -> int:
    """How many probes like this one are kept."""
    from pytest_kgate.problems import tree  # needs PyTorch, which may be missing

    held = sum(tensor.nbytes for _, answer in probe.answers for tensor in tree.tensors(answer))
    return min(_KEPT, max(1, _KEPT_BYTES // max(1, held)))


def memoizes(excess_seconds: NDArray[np.float64], samples: NDArray[np.float64]) -> str | None:
    """One sentence where the candidate takes much longer on values that it has not seen; None where it does not.

    Then it reuses answers that it computed before, instead of computing them in the timed launches.

    What the reference loses to new values (they lie elsewhere in the caches) is taken off, and what a tenth of the
    candidate's own `samples`, its latencies in seconds, have above their median: on a busy host that is several times
    the median, and not a matter of values. Some of the probes may be quick: what a kernel remembers it remembers every
    time, but a disturbance of the launches that a probe is compared with hides it now and then. One of ten samples is
    the slowest by chance, so noise alone hardly puts three of four probes behind the slowest of theirs.
    """
    if len(excess_seconds) < _FEWEST or not np.isfinite(samples).all():
        return None
    longer = _longer(excess_seconds)
    candidate = float(np.quantile(longer, 0.4 if len(longer) >= _MANY else 0.25))
    if candidate <= _allowed(samples):
        return None
    return (
        f"the candidate takes {seconds(candidate)} longer on values that it has not seen, and "
        f"{seconds(float(np.median(samples)))} on those that it has: it seems to remember its answers"
    )


def needs_more_probes(excess_seconds: NDArray[np.float64], samples: NDArray[np.float64]) -> bool:
    """Whether the probes so far leave open that the candidate reuses old answers: `memoizes` then needs more rounds.

    That is so where few probes, or half of many, were slow on new values. A race that is decided after twelve rounds
    has three probes, and on a busy host a disturbance of one of them would hide that a candidate remembers answers.
    """
    if not len(excess_seconds) or not np.isfinite(samples).all() or memoizes(excess_seconds, samples):
        return False
    longer = _longer(excess_seconds)
    return float(np.max(longer) if len(longer) < _MANY else np.median(longer)) > _allowed(samples)


def _longer(excess_seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(probes,): seconds that new values cost the candidate beyond what they cost the reference."""
    longer: NDArray[np.float64] = excess_seconds[:, 0] - max(0.0, float(np.median(excess_seconds[:, 1])))
    return longer


def _allowed(samples: NDArray[np.float64]) -> float:
    """The seconds that new values may cost the candidate before it is said to remember answers."""
    latency, slow = (float(value) for value in np.quantile(samples, [0.5, 0.9]))
    return _REMEMBERING * latency + _SLACK_SECONDS + (slow - latency)


def overlaps(overlap_seconds: NDArray[np.float64], latency_seconds: float) -> str | None:
    """One sentence where the candidate's calls run at the same time as their neighbours; None where they do not.

    A quarter of the probes may be quick, as in `memoizes`: what overlaps does so in every row.
    """
    if len(overlap_seconds) < _FEWEST or not np.isfinite(latency_seconds):
        return None
    hidden = float(np.quantile(overlap_seconds, 0.25))
    if hidden <= _HIDDEN_SECONDS + _HIDDEN * latency_seconds:
        return None
    return (
        f"the candidate's calls run at the same time: one takes {seconds(latency_seconds + hidden)} where it "
        f"waits for the call before it to end, and {seconds(latency_seconds)} in the rows that were timed, which "
        "then tell how many calls a second there can be, not how long one takes"
    )
