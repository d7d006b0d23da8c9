"""Single launches between events: on a held queue (cold cache, what can't be captured), or eager."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import torch

from pytest_kgate.device.base import Arm
from pytest_kgate.device.base import Round
from pytest_kgate.device.base import Workload
from pytest_kgate.device.cuda_stopwatch import ROUND_WARM_UP_SECONDS
from pytest_kgate.device.cuda_stopwatch import CudaStopwatch
from pytest_kgate.device.cuda_stopwatch import elapsed_seconds
from pytest_kgate.errors import TimingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_kgate.device.cuda import CudaDevice


class QueueStopwatch(CudaStopwatch):
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
        with self.fresh_round(seed) as (inputs, outputs, rng):
            samples = len(order) // len(self.arms)
            slots = np.insert(order, rng.integers(0, len(order) + 1, samples), null)
            elapsed = np.empty(len(slots))
            retaken = 0
            done = 0
            result: Any = None
            while done < len(slots):
                chunk = min(self._chunk or len(slots), len(slots) - done)
                pairs = self.event_pairs(chunk)
                self.device.instruments.hold(self.device.stream)
                self._warm_up(inputs, outputs)
                if done == 0:
                    self.read_clock(0)
                for (start, end), slot in zip(pairs, slots[done : done + chunk], strict=True):
                    self.evict()
                    start.record()
                    if slot == null:
                        self.device.instruments.null(self.device.stream)
                    else:
                        output = self.arms[slot].call(inputs, outputs[slot])
                        result = output if slot == 0 else result
                    end.record()
                self.read_clock(1)
                self.device.instruments.release()
                self.device.wait()
                if self.device.instruments.host_was_late():
                    retaken += chunk
                    self._shrink(chunk)
                    continue
                elapsed[done : done + chunk] = elapsed_seconds(pairs)
                done += chunk
            self._last = (inputs, result)
            evidence = self.clock_evidence()
        floor = float(np.median(elapsed[slots == null]))
        seconds = np.stack([elapsed[slots == arm] for arm in range(len(self.arms))]) - floor
        return Round(seconds, np.full(len(self.arms), floor), retaken, evidence)

    def evict(self) -> None:
        """Overwrite twice the L2, with a cold cache."""
        if self._flush is not None:
            self._flush.zero_()

    def _shrink(self, chunk: int) -> None:
        if chunk == 1:
            raise TimingError(
                "The candidate or the reference waits for the GPU inside its call, so a launch can't be queued.",
                "Remove the synchronisation (`.item()`, `.cpu()`, `torch.cuda.synchronize()`), or time whole calls "
                "with --kgate-timer eager.",
            )
        self._chunk = max(1, chunk // 4)

    def _warm_up(self, inputs: tuple[Any, ...], outputs: list[Any]) -> None:
        once = max(sum(self.estimates), 1e-6)
        for _ in range(max(1, min(5, math.ceil(ROUND_WARM_UP_SECONDS / once)))):
            for arm, output in zip(self.arms, outputs, strict=True):
                arm.call(inputs, output)


class EagerStopwatch(CudaStopwatch):
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
        with self.fresh_round(seed) as (inputs, outputs, _):
            elapsed = np.empty(len(order))
            result: Any = None
            ((start, end),) = self.event_pairs(1)
            for arm, output in zip(self.arms, outputs, strict=True):
                arm.call(inputs, output)
            for index, arm in enumerate(order):
                self.evict()
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

    def evict(self) -> None:
        """Overwrite twice the L2, with a cold cache."""
        if self._flush is not None:
            self._flush.zero_()
