"""How many calls a sample has, and where in the shared memory their values lie."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

_SAMPLE_SECONDS = 300e-6
"""About the time of the long row: long beside the jitter of events, and beside the first launch of a graph."""

_SHARE_OF_L2 = 0.3
"""How much of the L2 the values of a row may fill, so that they stay there: each half of it keeps a copy of its own.
Rows are then about as long as the graph timer's, on which a reading depends: on an H200 `latency` read 3.99 us in rows
of 13 calls (0.45 of the L2), 4.04 us in rows of 8 and 4.18 us in rows of 4, and 4.12 us by the graph timer."""

_FEWEST, _MOST = 4, 64
_LONG_OVER_SHORT = 5
"""As the graph timer does in the judging process."""

_SHORT_CALLS = 3
"""Of a short row at least, where the long one has room for it: the first calls of a row take longer, since kernels of
another kind ran before it, and must be in both. On an H200 `latency` read 4.06 us in rows of 1 and 8 calls, 4.05 us of
2 and 8, 4.01 us of 3 and 8, and 3.94 us by the graph timer, whose rows have 5 and 26
(benchmarks/h200/isolated-2026-11-29/row-lengths)."""

_WARM_SECONDS = 0.5e-3
"""Of launches ahead of each sample: the GPU is warm then, and the host has enqueued the rest meanwhile."""

_MOST_WARM_UPS = 100

_BEHIND_SECONDS = 0.75e-3
"""Of launches behind the rows of each sample: what a GPU runs last reads differently (see `device/cuda/timers`)."""


@dataclass(frozen=True)
class RowPlan:
    """A short and a long row of calls, each on a slot of its own, and behind them a slot for the warm-up."""

    short: int
    """Calls of the short row, on the slots from 0."""
    long: int
    """Calls of the long row, on the slots behind."""
    slot_bytes: int
    fits_l2: bool
    """Whether the values of a row stay in the L2 from their arrival until their call."""
    warm_ups: int
    """Replays of the warm-up row, which has as many calls as the long one, all on the last slot."""
    behind: int
    """Replays of it that are enqueued behind the rows."""

    @classmethod
    def of(cls, slot_bytes: int, l2_bytes: int, estimated_seconds: float) -> RowPlan:
        """Plan the rows of calls that take about `estimated_seconds` each, on slots of so many bytes."""
        fitting = int(_SHARE_OF_L2 * l2_bytes) // slot_bytes
        wanted = math.ceil(_SAMPLE_SECONDS / max(estimated_seconds, 1e-7))
        long = max(_FEWEST, min(fitting, wanted, _MOST))
        once = max(estimated_seconds * long, 1e-7)
        return cls(
            short=max(1, long // _LONG_OVER_SHORT, min(_SHORT_CALLS, 3 * long // 8)),
            long=long,
            slot_bytes=slot_bytes,
            fits_l2=long <= fitting,
            warm_ups=min(max(2, math.ceil(_WARM_SECONDS / once)), _MOST_WARM_UPS),
            behind=min(math.ceil(_BEHIND_SECONDS / once), _MOST_WARM_UPS),
        )

    @property
    def timed(self) -> int:
        """Slots that get new values for each sample."""
        return self.short + self.long

    @property
    def slots(self) -> int:
        """The number of slots of a block."""
        return self.timed + 1

    @property
    def warm_slot(self) -> int:
        """The number of the slot for the warm-up."""
        return self.timed

    @property
    def rows(self) -> tuple[range, range]:
        """The calls of the short and of the long row."""
        return range(self.short), range(self.short, self.timed)

    @property
    def warm_row(self) -> tuple[int, ...]:
        """The calls of the warm-up row."""
        return (self.warm_slot,) * self.long

    def to_dict(self) -> dict[str, Any]:
        """Built-in types, for another process."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> RowPlan:
        """The plan of which `to_dict` gave these facts."""
        return cls(**facts)


def latencies(short: float, long: float, plan: RowPlan, most_overhead: float) -> tuple[float, float]:
    """Net latency of one call and what was taken off the short row, from the seconds of both rows of one sample.

    It is the slope, but never less than what the long row alone shows when `most_overhead` seconds are taken off: to
    make the short row longer than its work makes a slope smaller, but no work shorter.
    """
    slope = (long - short) / (plan.long - plan.short)
    seconds = max(slope, (long - most_overhead) / plan.long)
    return seconds, short - plan.short * seconds
