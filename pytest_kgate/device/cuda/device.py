"""One CUDA device: its description for records, its readings between rounds, and the choice of a timer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.device.cuda.nvml.state import Machine
from pytest_kgate.device.cuda.nvml.state import describe_gpu
from pytest_kgate.device.cuda.timers.capture import refusals
from pytest_kgate.device.cuda.timers.eager import EagerStopwatch
from pytest_kgate.device.cuda.timers.graph import GraphStopwatch
from pytest_kgate.device.cuda.timers.queue import QueueStopwatch
from pytest_kgate.device.protocol import Reading
from pytest_kgate.device.protocol import Stopwatch
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import TimingError
from pytest_kgate.errors import UsageError


class CudaDevice(CudaContext):
    """A GPU as a `Device`: kernels run and are timed on it."""

    kind = "cuda"

    def __init__(self, index: int = 0, *, timeout_seconds: float = 300.0) -> None:
        super().__init__(index, timeout_seconds=timeout_seconds)
        self._machine = Machine(index)

    def environment(self) -> dict[str, Any]:
        """The GPU, its driver and its state, for the record."""
        return {
            "device": "cuda",
            "cuda_runtime": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "gpu": {
                "name": self.properties.name,
                "capability": f"{self.properties.major}.{self.properties.minor}",
                "multiprocessors": self.properties.multi_processor_count,
                "memory_bytes": self.properties.total_memory,
                "l2_bytes": self.l2_bytes,
                **describe_gpu(self.index),
            },
        }

    def admit(self, pid: int) -> None:
        """Count this process among ours on this GPU, so that it disturbs no race."""
        self._machine.admit(pid)

    def read_machine(self) -> Reading | None:
        """Read what disturbs the GPU now; call it between rounds, as it takes up to 2 ms."""
        return self._machine.read()

    def stopwatch(self, arms: Sequence[Arm], workload: Workload, *, timer: str, cache: str) -> Stopwatch:
        """Choose the timer: graphs, or a held queue for what can't be captured."""
        if timer not in ("auto", "graph", "queue", "eager"):
            raise UsageError(f"Timer {timer!r} does not exist on a CUDA device.", "Use auto, graph, queue or eager.")
        if timer == "eager":
            return EagerStopwatch(self, arms, workload, cache)
        if self.launches_block:
            raise TimingError(
                "CUDA_LAUNCH_BLOCKING is set, so every launch waits for its kernel, and none can be queued behind "
                "another.",
                "Unset it, or time whole calls with --kgate-timer eager.",
            )
        refused = refusals(self, arms, workload)
        if timer != "queue" and not refused and not self.on_default_stream:
            return GraphStopwatch(self, arms, workload, cache)
        only_candidates = bool(refused) and all(name.startswith("candidate") for name in refused)
        queue = QueueStopwatch(self, arms, workload, cache, reference_by_graph=only_candidates)
        if timer != "queue" and refused and not self.on_default_stream:
            name, reason = next(iter(refused.items()))
            queue.warnings.append(
                f"graph timer not used: the {name} can't be captured in a CUDA graph ({reason}); the queue timer was "
                "used instead"
            )
        return queue
