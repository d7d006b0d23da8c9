"""The base of the graph and queue timers: net latency as the slope between a short and a long row of launches.

A sample is two intervals, of a short and of a long row of launches. Their difference leaves out what every interval
costs once (events, the first launch, the drain) and keeps what every launch costs. The whole round is enqueued on a
stream that is held meanwhile, so that no delay of the host can enter it.

A row of a slow kernel is a single launch, and its short row an empty kernel: what an interval costs once is then below
a hundredth of it, and alike for both arms, and to call such a kernel several times for each sample takes long.

With a cold cache every launch of a row has inputs and outputs of its own, and all are driven out of the L2 before each
row.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import torch

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.timers.stopwatch import IN_PLACE_BYTES
from pytest_kgate.device.cuda.timers.stopwatch import CudaStopwatch
from pytest_kgate.device.cuda.timers.stopwatch import elapsed_seconds
from pytest_kgate.device.probe_rows import ProbeRows
from pytest_kgate.device.protocol import Round
from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.device.protocol import Workload
from pytest_kgate.device.rows import LONG
from pytest_kgate.device.rows import SHORT
from pytest_kgate.device.rows import BufferSet
from pytest_kgate.device.rows import Form
from pytest_kgate.device.rows import PutBack
from pytest_kgate.device.rows import Row
from pytest_kgate.device.rows import TimedInterval
from pytest_kgate.device.rows import by_turn
from pytest_kgate.device.rows import demand_unwritten
from pytest_kgate.device.rows import plain_row
from pytest_kgate.errors import TimingError
from pytest_kgate.problems.trees import tree
from pytest_kgate.system.clocks.spent import add_spent
from pytest_kgate.system.clocks.spent import spent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_kgate.device.cuda.context import CudaContext

Lengths = tuple[tuple[int, int], ...]
"""By arm, the launches of its short row and of its long one."""

_ROUND_WARM_UP_SECONDS = 0.3e-3
"""Before the samples of each round: the first launch after an idle gap is 30 % slow on an H200."""

_SLOW_SECONDS = 0.5e-3
"""Latency from which a row is a single launch. An empty kernel in a row costs 1 us less than one between two events on
an H200, by which such a latency reads too low: at most 0.2 % of it, and alike for both arms."""

_QUICK_SECONDS = 65e-6
"""Latency below which the first replay of a graph shows in a sample: bringing it to the device took 1 to 3 us more on
an H200, and a sample of slower kernels is the difference of rows that lie 130 us apart, or more."""

_SHORT_SECONDS = 4e-6
"""Below this latency rows are longer in time too: what varies between launches is then a larger share of each."""


_AHEAD = 40
"""Rows of a round that are enqueued at a time where it has more than two arms: as many as two arms have in theirs."""

_COPIED_SHARE = 0.25
"""Of the memory that is free: what copies of the inputs may take for a cold cache. Answers, of which graphs keep as
many, and new values come besides."""


class SlopeStopwatch(CudaStopwatch):
    """Times rounds of short and long rows of launches; the subclass says how a row is launched."""

    row_seconds: float
    """About how long the long row of a kernel is made, so that the jitter of events becomes small against it."""

    most_launches: int
    """In one row; more would only cost time with kernels so short that the launch floor dominates them."""

    twins = 1
    """Graphs that take turns as a long row."""

    when_late: tuple[str, str]
    """Message and advice for a host that can't even enqueue one row in half a second."""

    def __init__(self, device: CudaContext, arms: Sequence[Arm], workload: Workload, cache: str) -> None:
        super().__init__(device, arms, workload, cache)
        # In tuples: a candidate finds this object in its caller's frames.
        self.lengths = tuple(self._lengths(seconds) for seconds in _even_out(self.estimates))
        longest = max(long for _, long in self.lengths)
        if cache == "cold" and longest > 1 and longest * self.set_bytes > _COPIED_SHARE * device.available_bytes():
            self.lengths, longest = ((0, 1),) * len(self.arms), 1
            self.warnings.append(
                "the GPU has no room for copies of the inputs, one for each call of a row: each call is timed by "
                "itself behind an emptied cache, and reads up to 1 us too low, as the other arm's does"
            )
        self._longest = longest
        self._sets = self._longest if cache == "cold" else 1
        # More than two arms make rows that a GPU does not take in advance all at once.
        self._chunk: int | None = _AHEAD if len(self.arms) > 2 else None
        self._holds = True

    @property
    def sample_seconds(self) -> float:
        """About how long one sample of each arm takes, all together: a short and a long row of each."""
        return sum(seconds * sum(lengths) for seconds, lengths in zip(self.estimates, self.lengths, strict=True))

    def rows(
        self, sets: Sequence[BufferSet], rng: np.random.Generator, lengths: Lengths
    ) -> AbstractContextManager[Mapping[Row, Callable[[], Any]]]:
        """For each row, a function that enqueues it and returns the result of its last launch.

        `lengths` has how many launches that are, by arm for the short row and the long one.
        """
        raise NotImplementedError

    def row_of(self, call: Callable[[int], Any], launches: int) -> AbstractContextManager[Callable[[], Any]]:
        """A function that enqueues `call(0)`, `call(1)` and so on, in the way the candidate's launches are enqueued."""
        return plain_row(call, launches)

    def launches_of(self, arm: int, sets: Sequence[BufferSet], count: int) -> tuple[Callable[[int], Any], int]:
        """What a row of so many of the arm's launches calls by turn, and how often: a row of none, an empty kernel."""
        return (by_turn(self.arms, arm, sets), count) if count else (lambda turn: self._fence(), 1)

    def round(self, seeds: RoundSeeds, order: NDArray[np.intp]) -> Round:
        """Hold the stream, enqueue warm-up and rows, let go; rows for which the host was late are taken again."""
        with self.fresh_round(seeds) as (inputs, outputs, rng), contextlib.ExitStack() as stack:
            put_back = PutBack(inputs, self.workload.mutates, self._longest, IN_PLACE_BYTES, self.arms)
            sets = [(inputs, outputs), *(self._another_set(one) for one in self._others(put_back))]
            put_back.sets = [one for one, _ in sets]
            form = Form(sets, self.workload.mutates)
            put_back()  # loads the kernels that it takes
            put_back.warn(self.warnings)
            lengths = self.lengths  # read once a round: the arms' code runs while rows are made
            with spent("capture"):
                rows = stack.enter_context(self.rows(sets, rng, lengths))
            keys = [(int(arm), int(length)) for arm in order for length in rng.permutation(2)]
            intervals = [TimedInterval(key, rows[key]) for key in keys]
            launches = None
            if seeds.probes:
                launches = ProbeRows(self.arms, self.workload, sets, rng, seeds.probes, put_back=put_back)
                intervals = stack.enter_context(
                    launches.among(intervals, rows, self.row_of, lengths[0][LONG], self._fence)
                )
            # What a call has left running on a stream of its own as it was captured would take SMs from the rows below.
            self.device.synchronize()
            elapsed, retaken, busy_seconds = self._timed(put_back.before(intervals), rows, rng)
            evidence = {**self.clock_evidence(), "device_busy_seconds": busy_seconds}
            form.demand_kept("an arm")
            if not (seeds.probes or self.workload.mutates):  # then all sets share what may not change
                for copies, _ in sets[1:]:
                    demand_unwritten(copies, inputs, "an arm")  # `inputs` are compared with a copy as the round ends
        of_samples = np.array([interval.sampled for interval in intervals])
        sampled = elapsed[of_samples]
        add_spent("timed", float(sampled.sum()))
        add_spent("probes", float(elapsed[~of_samples].sum()))
        add_spent("warm-up", max(0.0, busy_seconds - float(elapsed.sum())))
        seconds, overhead = self._slopes(order, keys, sampled, lengths)
        probe = None if launches is None else launches.result(intervals, elapsed, float(np.median(seconds[0])))
        return Round(seconds, overhead, retaken, evidence, probe)

    def _timed(
        self, intervals: Sequence[TimedInterval], rows: Mapping[Row, Callable[[], Any]], rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], int, float]:
        """Time the intervals; returns the seconds of each, how many were taken again, and seconds of waiting."""
        elapsed = np.empty(len(intervals))
        done = retaken = 0
        busy_seconds = 0.0
        while done < len(intervals):
            chunk = min(self._chunk or len(intervals), len(intervals) - done)
            pairs = self.event_pairs(chunk)
            self.device.give_way()
            released = time.perf_counter()
            if self._holds:
                self.device.instruments.hold(self.device.stream)
            self._warm_up(rows, rng, first=done == 0)
            if done == 0:
                self.read_clock(0)
            for pair, interval in zip(pairs, intervals[done : done + chunk], strict=True):
                self._enqueue(pair, interval)
            self.read_clock(1)
            self.fill_behind()
            if self._holds:
                self.device.instruments.release()
                released = time.perf_counter()
            self.device.wait()
            busy_seconds += time.perf_counter() - released
            if self._holds and self.device.instruments.host_was_late():
                retaken += chunk
                if chunk == 1:
                    self.give_up_holding()
                self._chunk = max(1, chunk // 4)
                continue
            elapsed[done : done + chunk] = elapsed_seconds(pairs)
            done += chunk
        return elapsed, retaken, busy_seconds

    def fill_behind(self) -> None:
        """Enqueue what comes behind the rows, where these may not be the last that the device has to run."""

    def give_up_holding(self) -> None:
        """Enqueue later rows on a stream that runs; raises `TimingError` where that would time the host."""
        raise TimingError(*self.when_late)

    def _enqueue(self, pair: tuple[torch.cuda.Event, torch.cuda.Event], interval: TimedInterval) -> None:
        """Enqueue one interval between its two events; with a cold cache, empty the L2 of its inputs before it."""
        start, end = pair
        if interval.before is not None:
            interval.before()
        self.evict()
        start.record(self.device.stream)
        result = interval.enqueue()
        end.record(self.device.stream)
        if interval.after is not None:
            interval.after(result)

    def _fence(self) -> None:
        """Enqueue an empty kernel that overlaps with neither the launch before it nor the one after it."""
        self.device.instruments.null(self.device.stream)

    def _others(self, put_back: PutBack) -> list[tuple[Any, ...]]:
        """The inputs of all sets but the first: with a cold cache, at addresses of their own."""
        first, *others = put_back.sets
        if self.workload.mutates:
            return others
        return [tree.copy(first) for _ in range(self._sets - 1)]

    def _another_set(self, inputs: tuple[Any, ...]) -> BufferSet:
        """These inputs with outputs of their own."""
        return inputs, [self.workload.output_for(arm, inputs) for arm in self.arms]

    def _slopes(
        self, order: NDArray[np.intp], keys: Sequence[Row], elapsed: NDArray[np.float64], lengths: Lengths
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        which = np.array([2 * arm + length for arm, length in keys])
        seconds = np.empty((len(self.arms), len(order) // len(self.arms)))
        overhead = np.empty(len(self.arms))
        for arm, (short, long) in enumerate(lengths):
            of_short, of_long = (elapsed[which == 2 * arm + length] for length in (SHORT, LONG))
            seconds[arm] = (of_long - of_short) / (long - short)
            overhead[arm] = np.median(of_short - short * seconds[arm])
        return seconds, overhead

    def _warm_up(self, rows: Mapping[Row, Callable[[], Any]], rng: np.random.Generator, *, first: bool) -> None:
        """Enqueue what comes before the samples: the GPU must be awake, and no sample be a graph's `first` replay.

        That made the first one or two samples of each arm up to 4 % slower on an H200. To replay every graph once takes
        9 % more of a round's device time, 16 % where kernels take 50 us; slower ones do not feel it and are spared.
        Where rows are single launches, one of either arm wakes the GPU.
        """
        if all(long == 1 for _, long in self.lengths):
            rows[int(rng.integers(len(self.arms))), LONG]()
            return
        once = sum(seconds * long for seconds, (_, long) in zip(self.estimates, self.lengths, strict=True))
        passes = max(1, min(10, math.ceil(_ROUND_WARM_UP_SECONDS / max(once, 1e-6))))
        every_graph = first and self.twins > 1 and min(self.estimates) < _QUICK_SECONDS
        for _ in range(max(passes, self.twins) if every_graph else passes):
            for arm in rng.permutation(len(self.arms)):
                rows[int(arm), LONG]()
        if every_graph:
            for arm in rng.permutation(len(self.arms)):
                rows[int(arm), SHORT]()

    def _lengths(self, seconds: float) -> tuple[int, int]:
        """How many launches the short and the long row have, for a kernel of about this latency in seconds."""
        if seconds > _SLOW_SECONDS:
            return 0, 1
        seconds = max(seconds, 1e-7)
        launches = math.ceil(self.row_seconds / seconds * max(1.0, _SHORT_SECONDS / seconds))
        long = min(self.most_launches, max(3, launches))
        return max(1, long // 5), long


def _even_out(seconds: Sequence[float]) -> list[float]:
    """Make nearly equal latencies equal, so that the arms' rows have one length, which then can't bias the ratio."""
    mean = math.exp(sum(math.log(max(value, 1e-7)) for value in seconds) / len(seconds))
    return [mean if 0.5 < value / mean < 2 else value for value in seconds]
