"""The eager timer, on request: events around each call on an idle device, the latency that a caller sees."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.timers.stopwatch import IN_PLACE_BYTES
from pytest_kgate.device.cuda.timers.stopwatch import CudaStopwatch
from pytest_kgate.device.probe_rows import ProbeRows
from pytest_kgate.device.protocol import Round
from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.device.protocol import Workload
from pytest_kgate.device.rows import LONG
from pytest_kgate.device.rows import Form
from pytest_kgate.device.rows import PutBack
from pytest_kgate.device.rows import TimedInterval
from pytest_kgate.device.rows import by_turn
from pytest_kgate.device.rows import in_a_row
from pytest_kgate.device.rows import plain_row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_kgate.device.cuda.context import CudaContext


class EagerStopwatch(CudaStopwatch):
    """Times single calls between events, the host's launch overhead included; nothing is taken off."""

    timer = "eager"

    def __init__(self, device: CudaContext, arms: Sequence[Arm], workload: Workload, cache: str) -> None:
        super().__init__(device, arms, workload, cache)
        self.warnings.append("eager timer: latencies include the host's launch overhead")

    def round(self, seeds: RoundSeeds, order: NDArray[np.intp]) -> Round:
        """Take the samples of a round one at a time, each on an idle stream."""
        with self.fresh_round(seeds) as (inputs, outputs, rng), contextlib.ExitStack() as stack:
            sets = [(inputs, outputs)]
            form = Form(sets, self.workload.mutates)
            put_back = PutBack(inputs, self.workload.mutates, 1, IN_PLACE_BYTES, self.arms)
            rows = {(arm, LONG): in_a_row(by_turn(self.arms, arm, sets), 1) for arm in range(len(self.arms))}
            intervals = [TimedInterval((int(arm), LONG), rows[int(arm), LONG]) for arm in order]
            launches = None
            if seeds.probes:
                launches = ProbeRows(self.arms, self.workload, sets, rng, seeds.probes, put_back=put_back)
                intervals = stack.enter_context(launches.among(intervals, rows, plain_row, 1))
            self.device.give_way()
            for row in rows.values():
                row()
            elapsed = np.array([self._timed(interval) for interval in put_back.before(intervals)])
            form.demand_kept("an arm")
        sampled = elapsed[[interval.sampled for interval in intervals]]
        seconds = np.stack([sampled[order == arm] for arm in range(len(self.arms))])
        probe = None if launches is None else launches.result(intervals, elapsed)
        return Round(seconds, np.zeros(len(self.arms)), probe=probe)

    def _timed(self, interval: TimedInterval) -> float:
        ((start, end),) = self.event_pairs(1)
        if interval.before is not None:
            interval.before()
        self.evict()
        self.device.wait()
        start.record()
        result = interval.enqueue()
        end.record()
        self.device.wait()
        if interval.after is not None:
            interval.after(result)
        return float(start.elapsed_time(end)) * 1e-3
