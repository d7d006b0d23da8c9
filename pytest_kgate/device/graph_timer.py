"""Hot kernels in CUDA graphs: the default timer."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
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

_MOST_LAUNCHES = 50
"""In one graph; more would only lengthen capture for kernels so short that the launch floor dominates them."""


class GraphStopwatch(CudaStopwatch):
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
            seconds * (short + long) for seconds, (short, long) in zip(self.estimates, self._launches, strict=True)
        )

    def why_not_capturable(self) -> str | None:
        """Capture each arm once; None, or one clause that says which arm refused and why."""
        with self.fresh_round(0) as (inputs, outputs, _):
            # A graph of its own keeps the memory pool alive between rounds, whose graphs come and go.
            scratch = torch.empty(1, device=self.device.torch_device)
            self._anchor, _ = self._capture(scratch.zero_, 1)
            for arm, output in zip(self.arms, outputs, strict=True):
                try:
                    graph, _ = self._capture(lambda arm=arm, output=output: arm.call(inputs, output), 2)
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
        """Capture, hold the stream, enqueue warm-up and all replays, let go, read the events."""
        with self.fresh_round(seed) as (inputs, outputs, rng):
            graphs: dict[tuple[int, int], torch.cuda.CUDAGraph] = {}
            results: dict[tuple[int, int], Any] = {}
            which = [(arm, length) for arm in range(len(self.arms)) for length in range(2)]
            pads = []
            for index in rng.permutation(len(which)):
                arm, length = which[index]
                pads.append(int(rng.integers(1, PAD_STEPS)) * PAD_STEP)
                call = self.arms[arm].call
                graphs[arm, length], results[arm, length] = self._capture(
                    lambda call=call, output=outputs[arm]: call(inputs, output),
                    self._launches[arm][length],
                    pads[-1],
                )
            replays = [
                (int(arm), int(length)) for arm in order for length in (rng.permutation(2) if len(order) else ())
            ]
            pairs = self.event_pairs(len(replays))
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
            elapsed = elapsed_seconds(pairs)
            last = max(index for index, key in enumerate(replays) if key[0] == 0)
            self._last = (inputs, results[replays[last]])
            for graph in graphs.values():
                graph.reset()
        return self._slopes(order, replays, elapsed)

    def _slopes(self, order: NDArray[np.intp], replays: list[tuple[int, int]], elapsed: NDArray[np.float64]) -> Round:
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
        once = sum(seconds * long for seconds, (_, long) in zip(self.estimates, self._launches, strict=True))
        return max(1, min(10, math.ceil(ROUND_WARM_UP_SECONDS / max(once, 1e-6))))

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

    def _leave_broken_capture(self) -> None:
        """Bring PyTorch out of a capture that broke off; its generators and allocator still think it goes on.

        A capture that succeeds takes the generators out of that state; without it the next `torch.randn` fails.
        """
        with contextlib.suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(self.device.index, self._pool)
        scratch = torch.empty(1, device=self.device.torch_device)
        self._pool = torch.cuda.graph_pool_handle()
        self._anchor, _ = self._capture(scratch.zero_, 1)


def _even_out(seconds: Sequence[float]) -> list[float]:
    """Arms of nearly the same latency get the same graphs, so that no difference of theirs can bias the ratio."""
    mean = math.exp(sum(math.log(max(value, 1e-7)) for value in seconds) / len(seconds))
    return [mean if 0.5 < value / mean < 2 else value for value in seconds]


def _graph_lengths(seconds: float) -> tuple[int, int]:
    """Launches in the short and the long graph of a kernel of about this latency."""
    long = min(_MOST_LAUNCHES, max(3, math.ceil(_LONG_GRAPH_SECONDS / max(seconds, 1e-7))))
    return max(1, long // 5), long
