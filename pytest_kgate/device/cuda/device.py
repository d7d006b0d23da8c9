"""One CUDA device: where candidates run, how faults and hangs are noticed, which timer fits."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import torch

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.instruments import Instruments
from pytest_kgate.device.cuda.nvml import Machine
from pytest_kgate.device.cuda.nvml import describe_gpu
from pytest_kgate.device.cuda.timers.capture import refusals
from pytest_kgate.device.cuda.timers.eager import EagerStopwatch
from pytest_kgate.device.cuda.timers.graph import GraphStopwatch
from pytest_kgate.device.cuda.timers.queue import QueueStopwatch
from pytest_kgate.device.protocol import Reading
from pytest_kgate.device.protocol import Stopwatch
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import DeviceMissing
from pytest_kgate.errors import UsageError

HUNG = "a kernel did not end in time"
"""Why a context is lost in which a kernel still runs."""

_POLL_SECONDS = 50e-6
_SPIN_SECONDS = 5e-3
"""Waits shorter than this are polled without sleeping: a sleep costs more than most rounds."""


class CudaDevice:
    """Kernels run on one stream of this device; nothing else of the process uses it meanwhile."""

    kind = "cuda"

    def __init__(self, index: int = 0, *, timeout_seconds: float = 300.0) -> None:
        if not torch.cuda.is_available():
            raise DeviceMissing(
                "No CUDA device is available to this PyTorch.",
                "Check `nvidia-smi` and that torch is a CUDA build, or run with --kgate-device host.",
            )
        if index >= torch.cuda.device_count():
            raise DeviceMissing(
                f"There is no cuda:{index}; this machine has {torch.cuda.device_count()} CUDA device(s).",
                "Name one of them with --kgate-device cuda:N.",
            )
        self.index = index
        self.torch_device = f"cuda:{index}"
        self.timeout_seconds = timeout_seconds
        self.lost: str | None = None
        """Why the CUDA context can no longer be used, once a kernel has faulted or hung."""
        try:
            torch.cuda.set_device(index)
            self.properties = torch.cuda.get_device_properties(index)
            self.stream = torch.cuda.Stream(index)
            self.instruments = Instruments()
        except RuntimeError as error:
            raise DeviceMissing(
                f"cuda:{index} can't be opened: {str(error).splitlines()[0]}.",
                "`nvidia-smi` shows who uses it: free memory there, or name another with --kgate-device cuda:N.",
            ) from error
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
        """A process that this one has started and will wait for may have this GPU open, too."""
        self._machine.admit(pid)

    @property
    def hung(self) -> bool:
        """Whether a kernel still runs that will not end: the process can then not exit in the usual way."""
        return self.lost == HUNG

    @property
    def l2_bytes(self) -> int:
        """The size of the L2 cache, in bytes."""
        return int(self.properties.L2_cache_size)

    def read_machine(self) -> Reading | None:
        """What disturbs the GPU now; for between rounds, as it takes up to 2 ms."""
        return self._machine.read()

    def clock(self) -> float:
        """Seconds on the host's monotonic clock."""
        return time.perf_counter()

    def synchronize(self) -> None:
        """Wait for all streams, for at most `timeout_seconds`; raises `CandidateError` on a fault or a hang."""
        with self.running("waiting for the device"):
            # A side stream's work counts too, so the default stream is made to wait for nothing but itself and
            # the whole context is asked last, when this stream has shown that the device still answers.
            self.wait()
            torch.cuda.synchronize(self.index)

    def wait(self) -> None:
        """Poll until the stream is idle: a blocking wait on a hung kernel would never return."""
        done = torch.cuda.Event()
        done.record(self.stream)
        start = time.perf_counter()
        try:
            while not done.query():
                waited = time.perf_counter() - start
                if waited > self.timeout_seconds:
                    raise CandidateError(
                        f"The candidate hung: a kernel did not end within {self.timeout_seconds:g} s.",
                        "Look for an endless loop or a barrier that not all threads reach; raise --kgate-timeout if it "
                        "is just slow. The rest of this process's CUDA tests are not run.",
                    )
                if waited > _SPIN_SECONDS:
                    time.sleep(_POLL_SECONDS)
        except CandidateError:  # from here, or from the watchdog, whose clock may have started earlier
            self.lost = HUNG
            raise

    @contextlib.contextmanager
    def running(self, doing: str) -> Iterator[None]:
        """Make this device's stream current, without autograd; CUDA errors become `CandidateError`."""
        if self.lost:
            raise CandidateError(
                f"Not run: the CUDA context of this process was lost ({self.lost}).",
                "Run this test again in a new process, without the test that lost the context.",
            )
        try:
            with torch.cuda.device(self.index), torch.cuda.stream(self.stream), torch.no_grad():
                yield
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            free, total = torch.cuda.mem_get_info(self.index)
            raise CandidateError(
                f"Out of GPU memory while {doing}: {str(error).splitlines()[0]}",
                f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB are free; use a smaller shape, or end the other "
                "processes on this GPU.",
            ) from error
        except RuntimeError as error:
            self._raise_if_faulted(error, doing)
            raise
        except CandidateError as error:
            if not self.lost:  # a fault may have shown inside its call
                self._raise_if_faulted(error.__cause__ or error, doing)
            raise

    def _raise_if_faulted(self, error: BaseException, doing: str) -> None:
        try:
            probe = torch.cuda.Event()
            probe.record(self.stream)
            probe.query()
        except RuntimeError as fault:
            reason = str(fault).splitlines()[0]
            self.lost = reason
            if "device-side assert" in reason:
                raise CandidateError(
                    f"A device assert failed while {doing}.",
                    "The driver writes its condition, source line, block and thread to stderr when this process ends; "
                    "with a sanitize marker the failure names them. The CUDA context of this process is lost, so its "
                    "remaining CUDA tests are not run.",
                ) from error
            raise CandidateError(
                f"A kernel faulted while {doing}: {reason}.",
                "Run the test under `compute-sanitizer` to see which kernel and line. The CUDA context of this process "
                "is lost, so its remaining CUDA tests are not run.",
            ) from error

    def stopwatch(self, arms: Sequence[Arm], workload: Workload, *, timer: str, cache: str) -> Stopwatch:
        """Choose the timer: graphs, or a held queue for what can't be captured."""
        if timer not in ("auto", "graph", "queue", "eager"):
            raise UsageError(f"Timer {timer!r} does not exist on a CUDA device.", "Use auto, graph, queue or eager.")
        if timer == "eager":
            return EagerStopwatch(self, arms, workload, cache)
        refused = refusals(self, arms, workload)
        if timer != "queue" and not refused:
            return GraphStopwatch(self, arms, workload, cache)
        queue = QueueStopwatch(self, arms, workload, cache, reference_by_graph=list(refused) == ["candidate"])
        if timer != "queue":
            name, reason = next(iter(refused.items()))
            queue.warnings.append(
                f"graph timer not used: the {name} can't be captured in a CUDA graph ({reason}); the queue timer was "
                "used instead"
            )
        return queue
