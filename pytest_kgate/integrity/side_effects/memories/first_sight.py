"""First sight: whether a candidate answers values sooner when they come a second time, by a part of its work.

`memoization` tells who leaves out half of the work or more, whatever values cost and processors learn of them. Who
keeps a product of one input, say, by two of its elements, leaves out less, and gains it in a race, whose values come
again. Here each draw is timed twice, as it comes and right after, behind the same draw, writes and forgetting, so that
neither its values nor what a processor has learned makes a difference. On the host only.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Workload
from pytest_kgate.integrity.side_effects.freed_memory import free
from pytest_kgate.integrity.side_effects.memories.memoization import Buffers
from pytest_kgate.integrity.side_effects.memories.memoization import forget_branches
from pytest_kgate.report.format import seconds

_DEAR = 0.15
"""Share of a second call by which a first one may take longer."""

_DEAR_SECONDS = 5e-6
"""And these seconds: below them clocks decide."""

_DRAWS = 30
_QUICK_FIRST = 2
"""Of calls that are alike, chance has at most so many first ones no slower once in two million candidates; of
1,024 looks at honest ones, half of them on a busy machine, all were over after eight draws."""

_LONGEST_SECONDS = 10.0


def left_out(device: Device, arm: Arm, workload: Workload, seeds: Callable[[int], int]) -> str | None:
    """One sentence where calls on new values take longer than those right after; None otherwise.

    `seeds` tells the seed of each draw.
    """
    buffers = Buffers(device, arm, workload, seeds(0))
    pairs: list[tuple[float, float]] = []
    start, quick = time.perf_counter(), 0
    try:
        for number in range(_DRAWS):
            pairs.append(_first_and_second(buffers, seeds(1 + number)))
            first, second = pairs[-1]
            quick += first <= (1 + _DEAR) * second + _DEAR_SECONDS
            if quick > _QUICK_FIRST or time.perf_counter() - start > _LONGEST_SECONDS:
                return None
    finally:
        buffers.close()
    new, old = (seconds(float(np.median(times))) for times in zip(*pairs, strict=True))
    return f"the candidate remembers a part of its work: a call on new values takes {new}, one right after {old}."


def _first_and_second(buffers: Buffers, seed: int) -> tuple[float, float]:
    """Seconds of a call on new values, and of one right after. They are drawn again for it: caches are then alike."""
    times = []
    for _ in range(2):
        values = buffers.inputs_of(seed)
        forget_branches()
        buffers.write(values)
        start = time.perf_counter()
        held = [buffers.call()]
        times.append(time.perf_counter() - start)
        free(held)
    return times[0], times[1]
