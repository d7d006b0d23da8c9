"""The CPU as a device: wall-clock timing of host kernels, with rounds of the same design as on a GPU."""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import os
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import torch

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import prepare
from pytest_kgate.device.arm import refused_memory
from pytest_kgate.device.probe_rows import ProbeRows
from pytest_kgate.device.protocol import ColdCache
from pytest_kgate.device.protocol import Reading
from pytest_kgate.device.protocol import Round
from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.device.protocol import Stopwatch
from pytest_kgate.device.protocol import Workload
from pytest_kgate.device.rows import LONG
from pytest_kgate.device.rows import BufferSet
from pytest_kgate.device.rows import FirstReads
from pytest_kgate.device.rows import FormInTurns
from pytest_kgate.device.rows import PutBack
from pytest_kgate.device.rows import TimedInterval
from pytest_kgate.device.rows import demand_unwritten
from pytest_kgate.device.rows import plain_row
from pytest_kgate.device.rows import remembered
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.trees import tree
from pytest_kgate.system.clocks.spent import add_spent
from pytest_kgate.system.clocks.spent import spent
from pytest_kgate.system.cpu_load import RoundLoad
from pytest_kgate.system.cpu_load import cpu_model
from pytest_kgate.system.cpu_load import wait_until_quiet
from pytest_kgate.system.procfs import available_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAMPLE_SECONDS = 200e-6
"""Shorter calls are repeated within a sample, so that the clock's own 50 ns is below a thousandth of it."""

_SETTLE_SECONDS = 10e-3
"""The longest pause when the arms change. OpenMP's workers spin for milliseconds: after 3 ms the next arm's p90 was 3
times its median, with 10 ms 7 % above it (attention of 1x8x512x64 in float32 against SDPA, 2 cores)."""

_ENOUGH_SECONDS = 80e-3
"""Of samples in a round, or as long as it takes to draw its inputs. An interrupt takes milliseconds, and four samples,
of which the middle two count, ignore one (docs/statistics.md, "How many samples a round")."""

_SLOW_SECONDS = 2e-3
"""Of a call that takes longer twice, that is estimate enough."""

_BESIDE_BYTES = 2**26
"""Inputs of a probed round up to this size are held twice. Larger ones outgrow the caches, and a call on them lasts so
long that what it costs to wake a thread does not show."""

_IN_PLACE_BYTES = 2**27
"""Of copies of the inputs that calls change in place: one for each call of a sample."""

_PADS, _PAD_BYTES = 64, 4096


class HostDevice:
    """Kernels run on this process's CPUs."""

    kind = "host"
    torch_device = "cpu"
    hung = False

    def environment(self) -> dict[str, Any]:
        """The CPU and how much of it both arms may use."""
        return {
            "device": "host",
            "cpu": {
                "model": cpu_model(),
                "cores": os.cpu_count() or 1,
                "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
                "torch_threads": torch.get_num_threads(),
                "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            },
        }

    def available_bytes(self) -> int | None:
        """Free bytes of the machine's memory, or of the container's if it may have less."""
        return available_memory()

    def admit(self, pid: int) -> None:
        """Do nothing: any process may use the CPUs, and their load is measured in each round."""

    def read_machine(self) -> Reading | None:
        """None: what disturbs the host is measured within each round, as part of its evidence."""
        return None

    def clock(self) -> float:
        """Seconds on the monotonic clock."""
        return time.perf_counter()

    def synchronize(self) -> None:
        """Do nothing: calls on the host have done their work when they return."""

    @contextlib.contextmanager
    def running(self, doing: str) -> Iterator[None]:
        """The context in which host kernels run: no autograd, and a lack of memory raises `CandidateError`."""
        try:
            with torch.no_grad():
                yield
        except (MemoryError, RuntimeError) as error:
            wanted = refused_memory(error)
            if wanted is None:
                raise
            raise CandidateError(f"Out of host memory while {doing}: {wanted}.", "Use a smaller shape.") from error

    def stopwatch(self, arms: Sequence[Arm], workload: Workload, *, timer: str, cache: str) -> Stopwatch:
        """The stopwatch on the wall clock, the only timer here; raises `UsageError` where a cold cache is asked for."""
        if timer not in ("auto", "wall"):
            raise UsageError(f"The {timer} timer needs a CUDA device.", "Use --kgate-timer auto on the host.")
        if cache != "hot":
            raise UsageError("The host timer measures with hot caches only.", "Use --kgate-cache hot on the host.")
        return WallStopwatch(self, arms, workload)


class WallStopwatch:
    """Times calls by `perf_counter_ns`: a few samples of one arm in a row, each after a call of the same arm.

    That call lets the arm find its own data in the caches and its own thread pool awake. It is an untimed one; of slow
    kernels, where there is one, that of the sample before. Before it, when the arms change, the other arm's workers are
    given time to go to sleep: they spin for a while after their last task.
    """

    timer, cache = "wall", "hot"
    run_length, offset_sd = 5, 0.0

    # No attributes beside these: a candidate finds this object in its caller's frames.
    __slots__ = (
        *("_call_seconds", "_counts", "_reads", "arms", "device", "enough_seconds", "tick_seconds", "warnings"),
        "workload",
    )

    def __init__(self, device: HostDevice, arms: Sequence[Arm], workload: Workload) -> None:
        self.device = device
        self.arms = tuple(arms)
        self.workload = workload
        self.warnings: list[str] = []
        self._reads = FirstReads()
        self.tick_seconds = time.get_clock_info("perf_counter").resolution
        counts, seconds = tuple[int, ...](), tuple[float, ...]()
        with device.running("warming up"), spent("warm-up"):
            start = time.perf_counter()
            drawn = workload.draw(0)
            self.enough_seconds = max(_ENOUGH_SECONDS, time.perf_counter() - start)
            buffers = self._set(drawn)
            prepare(self.arms, [drawn])
            for index, arm in enumerate(self.arms):
                once = TimedInterval((index, LONG), _row(arm, index, 1, [buffers]))
                call_seconds = min(_timed(once) for _ in range(2))
                if call_seconds < _SLOW_SECONDS:
                    call_seconds = min(call_seconds, *(_timed(once) for _ in range(2)))
                count = max(1, math.ceil(_SAMPLE_SECONDS / max(call_seconds, 1e-8)))
                if count > 1:
                    several = TimedInterval((index, LONG), _row(arm, index, count, [buffers]))
                    call_seconds = _timed(several) / count
                counts, seconds = (*counts, count), (*seconds, call_seconds)
        self._counts, self._call_seconds = counts, seconds  # of each arm, the calls in a sample and seconds of one

    @property
    def sample_seconds(self) -> float:
        """About how long one sample of each arm takes, both together."""
        return sum(seconds * count for seconds, count in zip(self._call_seconds, self._counts, strict=True))

    @property
    def reference_seconds(self) -> float:
        """About the latency of one call of the reference."""
        return self._call_seconds[1]

    def prove_cold(self) -> ColdCache | None:
        """None: the cache is always hot."""
        return None

    def round(self, seeds: RoundSeeds, order: NDArray[np.intp]) -> Round:
        """Make inputs and outputs anew at other addresses, then take the samples in the order given."""
        rng = np.random.default_rng(seeds.layout)
        counts, taken, elapsed = self._counts, tuple(map(int, order)), tuple[float, ...]()  # none can be changed
        with self.device.running("timing"), no_garbage_collection(), contextlib.ExitStack() as stack:
            pads = [torch.empty(int(steps) * _PAD_BYTES, dtype=torch.uint8) for steps in rng.integers(1, _PADS, 2)]
            drawn, fixed = self.workload.draw(seeds.values), self.workload.fixed
            put_back = PutBack(drawn, self.workload.mutates, max(counts), _IN_PLACE_BYTES, self.arms)
            put_back.warn(self.warnings)
            sets = [self._set(inputs) for inputs in put_back.sets]
            first, form = remembered(fixed(drawn), in_part=True), FormInTurns(sets, self.workload.mutates)
            rows = {(index, LONG): _row(arm, index, counts[index], sets) for index, arm in enumerate(self.arms)}
            intervals = tuple(TimedInterval((arm, LONG), rows[arm, LONG]) for arm in taken)
            calls = None
            aside = sets[0]
            if seeds.probes:
                calls = ProbeRows(self.arms, self.workload, sets, rng, seeds.probes, drawn_late=True, put_back=put_back)
                if tree.size_bytes(sets[0][0]) <= _BESIDE_BYTES:
                    aside = self._set(self.workload.draw(seeds.values))
                intervals = tuple(stack.enter_context(calls.among(intervals, rows, plain_row, counts[0])))
            intervals = tuple(put_back.before(intervals))
            load = RoundLoad(len(self.arms))

            def over(arm: int | None) -> None:
                load.over(arm)
                if arm is not None:
                    form.turn_over(f"the {self.arms[arm].name}", candidates=self.arms[arm].name != "reference")
                    now = None if calls is None else calls.written
                    demand_unwritten(fixed(drawn), first if now is None else fixed(now), f"the {self.arms[arm].name}")

            before = None
            for interval in intervals:
                arm = interval.row[0]
                changed = arm != before
                if changed:
                    over(before)
                    add_spent("settle", wait_until_quiet(_SETTLE_SECONDS))
                    load.begin()
                    before = arm
                # On other buffers, if there are any, where the sample is to be the first call that sees its values; and
                # before these are drawn, so that no call before the timed ones finds them anywhere.
                if changed or counts[arm] > 1 or not interval.sampled:
                    around, results = sets[0] if interval.sampled else aside
                    with spent("warm-up"):
                        self.arms[arm].call(around, results[arm])
                self.workload.clear_freed(drawn)
                if interval.before is not None:
                    interval.before()
                elapsed = (*elapsed, _timed(interval, self._reads))
            over(before)
            self._reads.demand_there(self._call_seconds[0])
            del pads
        measured = np.array(elapsed)
        of_samples = np.array([interval.sampled for interval in intervals])
        sampled = measured[of_samples]
        add_spent("timed", float(sampled.sum()))
        add_spent("probes", float(measured[~of_samples].sum()))
        seconds = np.stack([sampled[np.equal(taken, arm)] / counts[arm] for arm in range(len(self.arms))])
        probe = None if calls is None else calls.result(intervals, measured)
        return Round(seconds, np.zeros(len(self.arms)), evidence=load.evidence(), probe=probe)

    def close(self) -> None:
        """Do nothing: no resource is held between rounds."""

    def _set(self, inputs: tuple[Any, ...]) -> BufferSet:
        """These inputs, with new outputs for the arms that take one."""
        return inputs, [self.workload.output_for(arm, inputs) for arm in self.arms]


def _row(arm: Arm, index: int, count: int, sets: Sequence[BufferSet]) -> Callable[[], Any]:
    """A function that makes a sample's calls, with as little around them as calls of a microsecond need."""
    call, inputs, output = arm.call, sets[0][0], sets[0][1][index]
    if len(sets) > 1:
        turns = [(one[0], one[1][index]) for one in itertools.islice(itertools.cycle(sets), count)]

        def row_of_sets() -> Any:
            for inputs, output in turns:
                result = call(inputs, output)
            return result

        return row_of_sets

    def row() -> Any:
        for _ in range(count):
            result = call(inputs, output)
        return result

    return row


def _timed(interval: TimedInterval, reads: FirstReads | None = None) -> float:
    start = time.perf_counter_ns()
    result = interval.enqueue()
    spent = time.perf_counter_ns() - start
    if interval.after is not None and reads is not None:
        reads.read(interval.after, result)
    return spent * 1e-9


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Turn garbage collection off in the block, since it could start within a timed interval."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
