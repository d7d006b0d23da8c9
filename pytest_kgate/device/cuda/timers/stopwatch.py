"""The base of the stopwatches on a CUDA stream: a round made anew, warm-up, cold cache, events.

A round's shape is the same for all: new inputs, outputs and addresses, both arms in the order given, CUDA events around
each sample. They differ in what stands between two events, and so in what is taken off to make the latency net.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import torch

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import prepare
from pytest_kgate.device.cuda.second_context import UNAVAILABLE
from pytest_kgate.device.cuda.timers.cold_cache import cold_probe
from pytest_kgate.device.protocol import ColdCache
from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.device.protocol import Workload
from pytest_kgate.device.rows import demand_unwritten
from pytest_kgate.device.rows import remembered
from pytest_kgate.problems.trees import tree
from pytest_kgate.system.clocks.spent import spent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_kgate.device.cuda.context import CudaContext

_EVENT_TICK_SECONDS = 32e-9
"""The step of `cudaEventElapsedTime` seen on an H200."""

_WARM_UP_SECONDS = 20e-3
"""Once per race, so that clocks and caches have settled before the first round: of the device's time, and no more of
the host's, which for kernels of 1 us is longer. On an H100 a gate of these warmed up for 0.115 s in all, one of 10 us
for 0.043 s (benchmarks/seconds/h100-2026-11-27.json)."""

_ENOUGH_SECONDS = 8e-3
"""Of samples in a round, or as long as it takes to draw its inputs (docs/statistics.md, "How many samples a round")."""

_SLOW_CALL_SECONDS = 2e-3
"""Of a call that takes longer, one is estimate enough."""

_EVICTION = 2
"""Times the size of the L2 that is read before a sample, for a cold cache."""

IN_PLACE_BYTES = 2**30
"""Of copies of the inputs that calls change in place: one for each launch of a row."""

PAD_STEP = 256
PAD_STEPS = 2048
"""Outputs and inputs move by up to 512 KiB between rounds, in steps of the allocator's alignment."""


class CudaStopwatch:
    """The base of the graph, queue and eager stopwatches; a subclass takes the samples of a round."""

    timer: str
    tick_seconds = _EVENT_TICK_SECONDS
    offset_sd = 0.0
    run_length = 1

    def __init__(self, device: CudaContext, arms: Sequence[Arm], workload: Workload, cache: str) -> None:
        self.device = device
        self.arms = tuple(arms)
        self.workload = workload
        self.cache = cache
        self.warnings: list[str] = []
        self._events: list[torch.cuda.Event] = []
        self._clock = torch.zeros((2, 2), dtype=torch.int64, device=device.torch_device)
        with self.device.running("warming up"), spent("warm-up"):
            self.device.wait()
            if not self.device.give_way():
                self.warnings.append(UNAVAILABLE)
            start = time.perf_counter()
            inputs = workload.draw(0)
            self.device.wait()
            self.enough_seconds = max(_ENOUGH_SECONDS, time.perf_counter() - start)
            outputs = [workload.output_for(arm, inputs) for arm in self.arms]
            self.set_bytes = tree.size_bytes(inputs) + tree.size_bytes(outputs)
            prepare(self.arms, [inputs])
            for arm, output in zip(self.arms, outputs, strict=True):
                arm.call(inputs, output)  # loads modules and compiles, which must not happen on a held stream
            self.device.wait()
            self.estimates = [self._estimate(arm, inputs, out) for arm, out in zip(self.arms, outputs, strict=True)]
            warm, began = 0.0, time.perf_counter()
            while warm < _WARM_UP_SECONDS and time.perf_counter() - began < _WARM_UP_SECONDS:
                for arm, output in zip(self.arms, outputs, strict=True):
                    arm.call(inputs, output)
                warm += max(sum(self.estimates), 1e-6)
            prepare(self.arms, [])
            self._eviction: torch.Tensor | None = None
            if cache == "cold":
                self._eviction = torch.ones(_EVICTION * device.l2_bytes // 4, device=device.torch_device)
                self._eviction.sum()  # loads the kernel, which can't be done while the stream is held
            self.device.wait()

    @property
    def sample_seconds(self) -> float:
        """About how long one sample of each arm takes, all together, in seconds."""
        return sum(self.estimates)

    @property
    def reference_seconds(self) -> float:
        """About the latency of one call of the reference in seconds, estimated before the first round."""
        return self.estimates[1]

    def evict(self) -> None:
        """With a cold cache, enqueue what empties the L2 before a sample.

        It reads twice as much: dirty lines that a write leaves would be written back within the timed interval.
        """
        if self._eviction is not None:
            self._eviction.sum()

    def prove_cold(self) -> ColdCache | None:
        """The latency of a load with a hot and a cold cache; `TimingError` where `evict` leaves the cache hot."""
        if self.cache != "cold":
            return None
        return cold_probe(self.device, self.evict).required()

    def close(self) -> None:
        """Wait until the device is idle."""
        if self.device.lost is None:
            self.device.wait()

    def _estimate(self, arm: Arm, inputs: tuple[Any, ...], output: Any) -> float:
        """Rough seconds of one call: from a few in a row on a held stream, the fixed overhead included.

        The first pass meets cold caches and lazily loaded modules. A slow call does not feel that, and is made once.
        """
        start, end = self.event_pairs(1)[0]
        for calls in (1, 5, 5):
            self.device.instruments.hold(self.device.stream)
            start.record()
            for _ in range(calls):
                arm.call(inputs, output)
            end.record()
            self.device.instruments.release()
            self.device.wait()
            seconds = float(start.elapsed_time(end)) * 1e-3 / calls
            if seconds > _SLOW_CALL_SECONDS:
                break
        return seconds

    def event_pairs(self, count: int) -> list[tuple[torch.cuda.Event, torch.cuda.Event]]:
        while len(self._events) < 2 * count:
            self._events.append(torch.cuda.Event(enable_timing=True))
        return list(zip(self._events[0 : 2 * count : 2], self._events[1 : 2 * count : 2], strict=True))

    def read_clock(self, which: int) -> None:
        """Enqueue a reading of the SM clock, before (0) or behind (1) the samples of a round; takes some 20 us."""
        self.device.instruments.clock(self.device.stream, self._clock[which])

    def clock_evidence(self) -> dict[str, float]:
        """The SM clock around the round's samples in Hz, and its relative change; call it when the round is over."""
        before, behind = (cycles / nanoseconds * 1e9 for cycles, nanoseconds in self._clock.tolist())
        return {"sm_clock_hz": (before + behind) / 2, "sm_clock_change": behind / before - 1}

    @contextlib.contextmanager
    def fresh_round(self, seeds: RoundSeeds) -> Iterator[tuple[tuple[Any, ...], list[Any], np.random.Generator]]:
        """Yield new inputs, new outputs at other addresses, and the generator that orders whatever else is made."""
        rng = np.random.default_rng(seeds.layout)
        with self.device.running("timing"):
            pads = [
                torch.empty(int(steps) * PAD_STEP, dtype=torch.uint8, device=self.device.torch_device)
                for steps in rng.integers(1, PAD_STEPS, 2)
            ]
            inputs = self.workload.draw(seeds.values)
            # Rows on new values leave others: then nothing is compared. No candidate knows such a round as it begins.
            before = None if seeds.probes else remembered(self.workload.fixed(inputs), in_part=True)
            outputs: list[Any] = [None] * len(self.arms)
            for index in rng.permutation(len(self.arms)):
                outputs[index] = self.workload.output_for(self.arms[index], inputs)
            with spent("draw"):
                self.device.wait()
            yield inputs, outputs, rng
            prepare(self.arms, [])  # what a forward pass has kept would lie beside the next round's inputs
            if before is not None:
                with spent("compare"):
                    demand_unwritten(self.workload.fixed(inputs), before, "an arm")
            del pads


def elapsed_seconds(pairs: Sequence[tuple[torch.cuda.Event, torch.cuda.Event]]) -> NDArray[np.float64]:
    return np.array([start.elapsed_time(end) for start, end in pairs]) * 1e-3
