"""The three ways to time a kernel on a CUDA stream: graphs, a held queue, and eager calls.

All three share a round's shape: new inputs, outputs and addresses, both arms in the order given, CUDA events around
each sample. They differ in what stands between two events, and so in what is taken off to make the latency net.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import torch

from pytest_kgate.device.base import Arm
from pytest_kgate.device.base import Round
from pytest_kgate.device.base import Workload
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import TimingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_kgate.device.cuda import CudaDevice

_EVENT_TICK_SECONDS = 32e-9
"""The step of `cudaEventElapsedTime` seen on an H200."""

_WARM_UP_SECONDS = 20e-3
"""Once per race, so that clocks and caches have settled before the first round."""

_ROUND_WARM_UP_SECONDS = 0.3e-3
"""Before the samples of each round: the first replay after an idle gap is 30 % slow on an H200."""

_LONG_GRAPH_SECONDS = 100e-6
"""A graph this long makes event jitter (about 0.1 us) a thousandth of a sample."""

_MOST_LAUNCHES = 50
"""In one graph; more would only lengthen capture for kernels so short that the launch floor dominates them."""

_PAD_STEP = 256
_PAD_STEPS = 2048
"""Outputs and inputs move by up to 512 KiB between rounds, in steps of the allocator's alignment."""


class _CudaStopwatch:
    """What the timers share: making a round anew, warming up, reading events."""

    timer: str
    tick_seconds = _EVENT_TICK_SECONDS

    def __init__(self, device: CudaDevice, arms: Sequence[Arm], workload: Workload, cache: str) -> None:
        self.device = device
        self.arms = tuple(arms)
        self.workload = workload
        self.cache = cache
        self.warnings: list[str] = []
        self._last: tuple[tuple[Any, ...], Any] | None = None
        self._events: list[torch.cuda.Event] = []
        with self.device.running("warming up"):
            inputs = workload.draw(0)
            outputs = [self._output(arm, inputs) for arm in self.arms]
            for arm, output in zip(self.arms, outputs, strict=True):
                arm.call(inputs, output)  # loads modules and compiles, which must not happen on a held stream
            self.device.wait()
            self.estimates = [self._estimate(arm, inputs, out) for arm, out in zip(self.arms, outputs, strict=True)]
            warm = 0.0
            while warm < _WARM_UP_SECONDS:
                for arm, output in zip(self.arms, outputs, strict=True):
                    arm.call(inputs, output)
                warm += max(sum(self.estimates), 1e-6)
            self.device.wait()

    @property
    def sample_seconds(self) -> float:
        """About what one sample of both arms takes."""
        return sum(self.estimates)

    def last_outputs(self) -> tuple[tuple[Any, ...], Any]:
        """The inputs of the latest round and what the candidate's last timed launch left in its output."""
        if self._last is None:
            raise TimingError("No round has been timed yet.", "Ask for outputs after a round.")
        return self._last

    def close(self) -> None:
        """Drop tensors and wait until the device is idle."""
        self._last = None
        if self.device.lost is None:
            self.device.wait()

    def _output(self, arm: Arm, inputs: tuple[Any, ...]) -> Any:
        return self.workload.make_output(inputs) if arm.takes_output else None

    def _estimate(self, arm: Arm, inputs: tuple[Any, ...], output: Any) -> float:
        """Rough seconds of one call: a few in a row on a held stream, with the fixed part left in."""
        calls = 5
        start, end = self._event_pairs(1)[0]
        for _ in range(2):  # the first pass meets cold caches and lazily loaded modules
            self.device.instruments.hold(self.device.stream)
            start.record()
            for _ in range(calls):
                arm.call(inputs, output)
            end.record()
            self.device.instruments.release()
            self.device.wait()
        return start.elapsed_time(end) * 1e-3 / calls

    def _event_pairs(self, count: int) -> list[tuple[torch.cuda.Event, torch.cuda.Event]]:
        while len(self._events) < 2 * count:
            self._events.append(torch.cuda.Event(enable_timing=True))
        return list(zip(self._events[0 : 2 * count : 2], self._events[1 : 2 * count : 2], strict=True))

    @contextlib.contextmanager
    def _fresh_round(self, seed: int) -> Iterator[tuple[tuple[Any, ...], list[Any], np.random.Generator]]:
        """New inputs and outputs, at addresses that moved; the generator orders whatever else is made."""
        rng = np.random.default_rng(seed)
        with self.device.running("timing"):
            pads = [
                torch.empty(int(steps) * _PAD_STEP, dtype=torch.uint8, device=self.device.torch_device)
                for steps in rng.integers(1, _PAD_STEPS, 2)
            ]
            inputs = self.workload.draw(seed)
            outputs: list[Any] = [None] * len(self.arms)
            for index in rng.permutation(len(self.arms)):
                outputs[index] = self._output(self.arms[index], inputs)
            self.device.wait()
            yield inputs, outputs, rng
            del pads


def _elapsed_seconds(pairs: Sequence[tuple[torch.cuda.Event, torch.cuda.Event]]) -> NDArray[np.float64]:
    return np.array([start.elapsed_time(end) for start, end in pairs]) * 1e-3


class GraphStopwatch(_CudaStopwatch):
    """Each arm as two CUDA graphs, of few and of many launches; the net latency is the slope between them.

    The slope leaves out what a replay costs once (events, graph launch, drain) and keeps what every launch costs.
    Graphs are captured anew each round: kept ones carry an offset of up to 1.6 % for their lifetime.
    """

    timer = "graph"

    def __init__(self, device: CudaDevice, arms: Sequence[Arm], workload: Workload) -> None:
        super().__init__(device, arms, workload, "hot")
        self._launches = [_graph_lengths(seconds) for seconds in _even_out(self.estimates)]
        self._pool = torch.cuda.graph_pool_handle()
        self._anchor: torch.cuda.CUDAGraph | None = None

    @property
    def sample_seconds(self) -> float:
        """About what one sample of both arms takes: a short and a long replay each."""
        return sum(
            seconds * (short + long)
            for seconds, (short, long) in zip(self.estimates, self._launches, strict=True)
        )

    def why_not_capturable(self) -> str | None:
        """Capture each arm once; None, or one clause that says which arm refused and why."""
        with self._fresh_round(0) as (inputs, outputs, _):
            # A graph of its own keeps the memory pool alive between rounds, whose graphs come and go.
            scratch = torch.empty(1, device=self.device.torch_device)
            self._anchor, _ = self._capture(lambda: scratch.zero_(), 1)
            for arm, output in zip(self.arms, outputs, strict=True):
                try:
                    graph, _ = self._capture(lambda arm=arm, output=output: arm.call(inputs, output), 2)  # type: ignore[misc]
                except (RuntimeError, CandidateError) as error:
                    self.device.wait()
                    return f"the {arm.name} can't be captured in a CUDA graph ({str(error).splitlines()[0]})"
                graph.reset()
        return None

    def close(self) -> None:
        """Drop the pool as well."""
        super().close()
        self._anchor = None

    def round(self, seed: int, order: NDArray[np.intp]) -> Round:
        """Capture, hold the stream, enqueue warm-up and all replays, let go, read the events."""
        with self._fresh_round(seed) as (inputs, outputs, rng):
            graphs: dict[tuple[int, int], torch.cuda.CUDAGraph] = {}
            results: dict[tuple[int, int], Any] = {}
            which = [(arm, length) for arm in range(len(self.arms)) for length in range(2)]
            pads = []
            for index in rng.permutation(len(which)):
                arm, length = which[index]
                pads.append(int(rng.integers(1, _PAD_STEPS)) * _PAD_STEP)
                call = self.arms[arm].call
                graphs[arm, length], results[arm, length] = self._capture(
                    lambda call=call, output=outputs[arm]: call(inputs, output),  # type: ignore[misc]
                    self._launches[arm][length],
                    pads[-1],
                )
            replays = [
                (int(arm), int(length)) for arm in order for length in (rng.permutation(2) if len(order) else ())
            ]
            pairs = self._event_pairs(len(replays))
            self.device.instruments.hold(self.device.stream)
            for _ in range(self._warm_up_replays()):
                for arm in rng.permutation(len(self.arms)):
                    graphs[int(arm), 1].replay()
            for (start, end), key in zip(pairs, replays, strict=True):
                start.record()
                graphs[key].replay()
                end.record()
            self.device.instruments.release()
            self.device.wait()
            if self.device.instruments.host_was_late():
                raise TimingError(
                    "The host could not enqueue a round of graph replays within half a second.",
                    "The machine is overloaded; free a CPU core, or use fewer samples.",
                )
            elapsed = _elapsed_seconds(pairs)
            last = max(index for index, key in enumerate(replays) if key[0] == 0)
            self._last = (inputs, results[replays[last]])
            for graph in graphs.values():
                graph.reset()
        return self._slopes(order, replays, elapsed)

    def _slopes(
        self, order: NDArray[np.intp], replays: list[tuple[int, int]], elapsed: NDArray[np.float64]
    ) -> Round:
        keys = np.array(replays)
        samples = len(order) // len(self.arms)
        seconds = np.empty((len(self.arms), samples))
        overhead = np.empty(len(self.arms))
        for arm, (short, long) in enumerate(self._launches):
            of_short = elapsed[(keys[:, 0] == arm) & (keys[:, 1] == 0)]
            of_long = elapsed[(keys[:, 0] == arm) & (keys[:, 1] == 1)]
            seconds[arm] = (of_long - of_short) / (long - short)
            overhead[arm] = np.median(of_short - short * seconds[arm])
        return Round(seconds, overhead)

    def _warm_up_replays(self) -> int:
        once = sum(
            seconds * long for seconds, (_, long) in zip(self.estimates, self._launches, strict=True)
        )
        return max(1, min(10, math.ceil(_ROUND_WARM_UP_SECONDS / max(once, 1e-6))))

    def _capture(self, call: Any, launches: int, pad_bytes: int = 0) -> tuple[torch.cuda.CUDAGraph, Any]:
        """Capture `launches` calls; `torch.cuda.graph` would also collect garbage and empty the cache, at 10 ms."""
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            pad = torch.empty(pad_bytes, dtype=torch.uint8, device=self.device.torch_device)  # moves the outputs
            for _ in range(launches):
                result = call()
            del pad
        except BaseException:
            with contextlib.suppress(RuntimeError):
                graph.capture_end()
            raise
        graph.capture_end()
        return graph, result


def _even_out(seconds: Sequence[float]) -> list[float]:
    """Arms of nearly the same latency get the same graphs, so that no difference of theirs can bias the ratio."""
    mean = math.exp(sum(math.log(max(value, 1e-7)) for value in seconds) / len(seconds))
    return [mean if 0.5 < value / mean < 2 else value for value in seconds]


def _graph_lengths(seconds: float) -> tuple[int, int]:
    """Launches in the short and the long graph of a kernel of about this latency."""
    long = min(_MOST_LAUNCHES, max(3, math.ceil(_LONG_GRAPH_SECONDS / max(seconds, 1e-7))))
    return max(1, long // 5), long


class QueueStopwatch(_CudaStopwatch):
    """Single launches on a stream that is held until the host has enqueued them; the null arm is taken off.

    For what can't be captured, and for a cold cache: there the L2 is overwritten before every sample.
    """

    timer = "queue"

    def __init__(self, device: CudaDevice, arms: Sequence[Arm], workload: Workload, cache: str) -> None:
        super().__init__(device, arms, workload, cache)
        self._chunk: int | None = None
        self._flush = (
            torch.empty(2 * device.l2_bytes, dtype=torch.uint8, device=device.torch_device) if cache == "cold" else None
        )

    def round(self, seed: int, order: NDArray[np.intp]) -> Round:
        """Hold, enqueue a chunk of samples, let go; a chunk for which the host was late is taken again, smaller."""
        null = len(self.arms)
        with self._fresh_round(seed) as (inputs, outputs, rng):
            samples = len(order) // len(self.arms)
            slots = np.insert(order, rng.integers(0, len(order) + 1, samples), null)
            elapsed = np.empty(len(slots))
            retaken = 0
            done = 0
            result: Any = None
            while done < len(slots):
                chunk = min(self._chunk or len(slots), len(slots) - done)
                pairs = self._event_pairs(chunk)
                self.device.instruments.hold(self.device.stream)
                self._warm_up(inputs, outputs)
                for (start, end), slot in zip(pairs, slots[done : done + chunk], strict=True):
                    if self._flush is not None:
                        self._flush.zero_()
                    start.record()
                    if slot == null:
                        self.device.instruments.null(self.device.stream)
                    else:
                        output = self.arms[slot].call(inputs, outputs[slot])
                        result = output if slot == 0 else result
                    end.record()
                self.device.instruments.release()
                self.device.wait()
                if self.device.instruments.host_was_late():
                    retaken += chunk
                    self._shrink(chunk)
                    continue
                elapsed[done : done + chunk] = _elapsed_seconds(pairs)
                done += chunk
            self._last = (inputs, result)
        floor = float(np.median(elapsed[slots == null]))
        seconds = np.stack([elapsed[slots == arm] for arm in range(len(self.arms))]) - floor
        return Round(seconds, np.full(len(self.arms), floor), retaken)

    def _shrink(self, chunk: int) -> None:
        if chunk == 1:
            raise TimingError(
                "The candidate or the reference waits for the GPU inside its call, so a launch can't be queued.",
                "Remove the synchronisation (`.item()`, `.cpu()`, `torch.cuda.synchronize()`), or time whole calls with "
                "--kgate-timer eager.",
            )
        self._chunk = max(1, chunk // 4)

    def _warm_up(self, inputs: tuple[Any, ...], outputs: list[Any]) -> None:
        once = max(sum(self.estimates), 1e-6)
        for _ in range(max(1, min(5, math.ceil(_ROUND_WARM_UP_SECONDS / once)))):
            for arm, output in zip(self.arms, outputs, strict=True):
                arm.call(inputs, output)


class EagerStopwatch(_CudaStopwatch):
    """Events around each call on an idle device: what a caller waits for, the host's launch work included."""

    timer = "eager"

    def __init__(self, device: CudaDevice, arms: Sequence[Arm], workload: Workload, cache: str) -> None:
        super().__init__(device, arms, workload, cache)
        self.warnings.append("eager timer: latencies include the host's launch overhead")
        self._flush = (
            torch.empty(2 * device.l2_bytes, dtype=torch.uint8, device=device.torch_device) if cache == "cold" else None
        )

    def round(self, seed: int, order: NDArray[np.intp]) -> Round:
        """One sample at a time, each on an idle stream."""
        with self._fresh_round(seed) as (inputs, outputs, _):
            elapsed = np.empty(len(order))
            result: Any = None
            ((start, end),) = self._event_pairs(1)
            for arm, output in zip(self.arms, outputs, strict=True):
                arm.call(inputs, output)
            for index, arm in enumerate(order):
                if self._flush is not None:
                    self._flush.zero_()
                self.device.wait()
                start.record()
                output = self.arms[arm].call(inputs, outputs[arm])
                end.record()
                self.device.wait()
                result = output if arm == 0 else result
                elapsed[index] = start.elapsed_time(end) * 1e-3
            self._last = (inputs, result)
        seconds = np.stack([elapsed[order == arm] for arm in range(len(self.arms))])
        return Round(seconds, np.zeros(len(self.arms)))
