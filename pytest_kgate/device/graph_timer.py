"""Kernels in CUDA graphs: the default timer, for a hot or a cold cache."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import torch

from pytest_kgate.device.base import Arm
from pytest_kgate.device.base import Round
from pytest_kgate.device.base import Workload
from pytest_kgate.device.cuda_stopwatch import PAD_STEP
from pytest_kgate.device.cuda_stopwatch import PAD_STEPS
from pytest_kgate.device.cuda_stopwatch import ROUND_WARM_UP_SECONDS
from pytest_kgate.device.cuda_stopwatch import CudaStopwatch
from pytest_kgate.device.cuda_stopwatch import elapsed_seconds
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import TimingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_kgate.device.cuda import CudaDevice

_LONG_GRAPH_SECONDS = 100e-6
"""A graph this long makes event jitter (about 0.1 us) a thousandth of a sample."""

_EVICTION = 2
"""Times the size of the L2 that is read before a replay, for a cold cache."""

_MOST_LAUNCHES = 50
"""In one graph; more would only lengthen capture for kernels so short that the launch floor dominates them."""


class GraphStopwatch(CudaStopwatch):
    """Each arm as two CUDA graphs, of few and of many launches; the net latency is the slope between them.

    The slope leaves out what a replay costs once (events, graph launch, drain) and keeps what every launch costs.
    Graphs are captured anew each round: kept ones carry an offset of up to 1.6 % for their lifetime.

    With a cold cache every launch of a graph has inputs and outputs of its own, and all are read out of the L2 before
    each replay: by reads, because dirty lines that a write leaves would be written back within the timed interval.
    """

    timer = "graph"

    def __init__(self, device: CudaDevice, arms: Sequence[Arm], workload: Workload, cache: str) -> None:
        super().__init__(device, arms, workload, cache)
        self._launches = [_graph_lengths(seconds) for seconds in _even_out(self.estimates)]
        self._sets = max(long for _, long in self._launches) if cache == "cold" else 1
        self._eviction: torch.Tensor | None = None
        if cache == "cold":
            with device.running("making room for a cold cache"):
                self._eviction = torch.ones(_EVICTION * device.l2_bytes // 4, device=device.torch_device)
                self._eviction.sum()  # loads the kernel, which can't be done while the stream is held
                device.wait()
        self._pool = torch.cuda.graph_pool_handle()
        self._anchor: torch.cuda.CUDAGraph | None = None

    @property
    def sample_seconds(self) -> float:
        """About what one sample of both arms takes: a short and a long replay each."""
        return sum(
            seconds * (short + long) for seconds, (short, long) in zip(self.estimates, self._launches, strict=True)
        )

    def why_not_capturable(self) -> str | None:
        """Capture each arm once; None, or one clause that says which arm refused and why."""
        with self.fresh_round(0) as (inputs, outputs, _):
            # A graph of its own keeps the memory pool alive between rounds, whose graphs come and go.
            scratch = torch.empty(1, device=self.device.torch_device)
            self._anchor, _ = self._capture(lambda turn: scratch.zero_(), 1)
            for index, arm in enumerate(self.arms):
                try:
                    graph, _ = self._capture(functools.partial(self._call, index, [(inputs, outputs)]), 2)
                except (RuntimeError, CandidateError) as error:
                    self._leave_broken_capture()
                    self.device.wait()
                    return f"the {arm.name} can't be captured in a CUDA graph ({str(error).splitlines()[0]})"
                graph.reset()
        return None

    def close(self) -> None:
        """Drop the pool as well."""
        super().close()
        self._anchor = None

    def round(self, seed: int, order: NDArray[np.intp]) -> Round:
        """One round; taken again, whole, where the host was late, and given up after three times."""
        for late in range(3):
            result = self._round(seed, order)
            if result is not None:
                return replace(result, retaken=late * len(order))
        raise TimingError(
            "Three times in a row the host could not enqueue a round of graph replays within half a second.",
            "The machine is overloaded: free a CPU core.",
        )

    def _round(self, seed: int, order: NDArray[np.intp]) -> Round | None:
        """Capture, hold the stream, enqueue warm-up and all replays, let go, read the events; None: host late."""
        with self.fresh_round(seed) as (inputs, outputs, rng):
            sets = [(inputs, outputs), *(self._another_set(inputs) for _ in range(self._sets - 1))]
            graphs: dict[tuple[int, int], torch.cuda.CUDAGraph] = {}
            results: dict[tuple[int, int], Any] = {}
            which = [(arm, length) for arm in range(len(self.arms)) for length in range(2)]
            pads = []
            for index in rng.permutation(len(which)):
                arm, length = which[index]
                pads.append(int(rng.integers(1, PAD_STEPS)) * PAD_STEP)
                graphs[arm, length], results[arm, length] = self._capture(
                    functools.partial(self._call, arm, sets), self._launches[arm][length], pads[-1]
                )
            replays = [
                (int(arm), int(length)) for arm in order for length in (rng.permutation(2) if len(order) else ())
            ]
            pairs = self.event_pairs(len(replays))
            self.device.instruments.hold(self.device.stream)
            for _ in range(self._warm_up_replays()):
                for arm in rng.permutation(len(self.arms)):
                    graphs[int(arm), 1].replay()
            self.read_clock(0)
            for (start, end), key in zip(pairs, replays, strict=True):
                self.evict()
                start.record()
                graphs[key].replay()
                end.record()
            self.read_clock(1)
            self.device.instruments.release()
            self.device.wait()
            if self.device.instruments.host_was_late():
                return None
            elapsed = elapsed_seconds(pairs)
            last = replays[max(index for index, key in enumerate(replays) if key[0] == 0)]
            turn = self._launches[0][last[1]] - 1
            self._last = (sets[turn % len(sets)][0], results[last][-1])
            for graph in graphs.values():
                graph.reset()
            evidence = self.clock_evidence()
        seconds, overhead = self._slopes(order, replays, elapsed)
        return Round(seconds, overhead, evidence=evidence)

    def evict(self) -> None:
        """Read twice the L2, with a cold cache."""
        if self._eviction is not None:
            self._eviction.sum()

    def _another_set(self, inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[Any]]:
        """The same values elsewhere in memory, and outputs beside them."""
        copies = tuple(tensor.clone() for tensor in inputs)
        return copies, [self._output(arm, copies) for arm in self.arms]

    def _call(self, arm: int, sets: Sequence[tuple[tuple[Any, ...], list[Any]]], turn: int) -> Any:
        inputs, outputs = sets[turn % len(sets)]
        return self.arms[arm].call(inputs, outputs[arm])

    def _slopes(
        self, order: NDArray[np.intp], replays: list[tuple[int, int]], elapsed: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        keys = np.array(replays)
        samples = len(order) // len(self.arms)
        seconds = np.empty((len(self.arms), samples))
        overhead = np.empty(len(self.arms))
        for arm, (short, long) in enumerate(self._launches):
            of_short = elapsed[(keys[:, 0] == arm) & (keys[:, 1] == 0)]
            of_long = elapsed[(keys[:, 0] == arm) & (keys[:, 1] == 1)]
            seconds[arm] = (of_long - of_short) / (long - short)
            overhead[arm] = np.median(of_short - short * seconds[arm])
        return seconds, overhead

    def _warm_up_replays(self) -> int:
        once = sum(seconds * long for seconds, (_, long) in zip(self.estimates, self._launches, strict=True))
        return max(1, min(10, math.ceil(ROUND_WARM_UP_SECONDS / max(once, 1e-6))))

    def _capture(
        self, call: Callable[[int], Any], launches: int, pad_bytes: int = 0
    ) -> tuple[torch.cuda.CUDAGraph, list[Any]]:
        """Capture `call(0)`, `call(1)` and so on; the results are kept while a cold cache needs them apart.

        `torch.cuda.graph` would also collect garbage and empty the cache, at 10 ms.
        """
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            pad = torch.empty(pad_bytes, dtype=torch.uint8, device=self.device.torch_device)  # moves the outputs
            results: list[Any] = []
            for turn in range(launches):
                results = [*(results if self._sets > 1 else ()), call(turn)]
            del pad
        except BaseException:
            with contextlib.suppress(RuntimeError):
                graph.capture_end()
            raise
        graph.capture_end()
        return graph, results

    def _leave_broken_capture(self) -> None:
        """Bring PyTorch out of a capture that broke off; its generators and allocator still think it goes on.

        A capture that succeeds takes the generators out of that state; without it the next `torch.randn` fails.
        """
        with contextlib.suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(self.device.index, self._pool)
        scratch = torch.empty(1, device=self.device.torch_device)
        self._pool = torch.cuda.graph_pool_handle()
        self._anchor, _ = self._capture(lambda turn: scratch.zero_(), 1)


def _even_out(seconds: Sequence[float]) -> list[float]:
    """Arms of nearly the same latency get the same graphs, so that no difference of theirs can bias the ratio."""
    mean = math.exp(sum(math.log(max(value, 1e-7)) for value in seconds) / len(seconds))
    return [mean if 0.5 < value / mean < 2 else value for value in seconds]


def _graph_lengths(seconds: float) -> tuple[int, int]:
    """Launches in the short and the long graph of a kernel of about this latency."""
    long = min(_MOST_LAUNCHES, max(3, math.ceil(_LONG_GRAPH_SECONDS / max(seconds, 1e-7))))
    return max(1, long // 5), long
