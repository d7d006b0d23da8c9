"""The CUDA context that candidates run in: its stream, waits that can't block, the detection of faults and hangs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from pytest_kgate.device.cuda import driver
from pytest_kgate.device.cuda.instruments import Instruments
from pytest_kgate.device.cuda.second_context import second_context
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import DeviceMissing

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device

_HUNG = "a kernel did not end in time"
"""Why a context is lost in which a kernel still runs."""

_POLL_SECONDS = 50e-6
_SPIN_SECONDS = 5e-3
"""Waits shorter than this are polled without sleeping: a sleep costs more than most rounds."""

_CACHED_BYTES = 2**30
"""Cached by PyTorch's allocator beyond what is in use: to give back more, and to get it again, is a small part of the
time of calls on tensors so large."""


class CudaContext:
    """One device with the stream on which all arms run; nothing else of the process uses that stream meanwhile."""

    def __init__(self, index: int, *, timeout_seconds: float) -> None:
        if torch.version.hip:
            raise DeviceMissing(
                f"This PyTorch is built for ROCm {torch.version.hip}, and GPUs are timed through NVIDIA's driver only.",
                "Run with --kgate-device host, or install a CUDA build of PyTorch on a machine with an NVIDIA GPU.",
            )
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
            self.instruments = Instruments()
            self.stream = _own_stream(index)
            self.capture_stream = self.stream
        except RuntimeError as error:
            raise DeviceMissing(
                f"cuda:{index} can't be opened: {str(error).splitlines()[0]}.",
                "`nvidia-smi` shows who uses it: free memory there, or name another with --kgate-device cuda:N.",
            ) from error

    @property
    def hung(self) -> bool:
        """Whether a kernel still runs that will not end: the process can then not exit in the usual way."""
        return self.lost == _HUNG

    @property
    def launches_block(self) -> bool:
        """Whether each launch waits for its kernel, as CUDA_LAUNCH_BLOCKING has it: nothing can be queued then."""
        return os.environ.get("CUDA_LAUNCH_BLOCKING", "0") not in ("", "0")

    @property
    def l2_bytes(self) -> int:
        """The size of the L2 cache, in bytes."""
        return int(self.properties.L2_cache_size)

    @property
    def on_default_stream(self) -> bool:
        """Whether kernels run on CUDA's default stream at present, on which nothing can be captured."""
        return not self.stream.cuda_stream

    def available_bytes(self) -> int:
        """What the GPU has free, with what PyTorch's allocator holds unused, within the share that it may use."""
        held, used = torch.cuda.memory_reserved(self.index), torch.cuda.memory_allocated(self.index)
        free, total = torch.cuda.mem_get_info(self.index)
        share = getattr(torch.cuda, "get_per_process_memory_fraction", lambda index: 1.0)(self.index)
        return max(0, min(free + held, int(share * total)) - used)

    @contextlib.contextmanager
    def default_stream(self) -> Iterator[None]:
        """Run kernels on CUDA's default stream meanwhile, for an arm that launches there whatever stream is current.

        All that is enqueued there, and on streams that are not `cudaStreamNonBlocking`, begins in the order in which it
        was enqueued. So events on the default stream time those streams as well, a thread's own default stream among
        them. Graphs are captured on the stream that is left meanwhile.
        """
        self.synchronize()
        own, self.stream = self.stream, torch.cuda.default_stream(self.index)
        try:
            yield
        finally:
            self.stream = own

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

    def give_way(self) -> bool:
        """Let another context have the idle GPU for a moment, some 25 us, so that what was run before no longer shows.

        False where there is no other. Raises `TimingError` where the driver refuses its kernel.
        """
        other = second_context(self.index, self.instruments.image)
        if other is not None:
            other.take_turn()
        return other is not None

    def trim(self) -> None:
        """Give back what PyTorch's allocator has cached, where that is much.

        Memory that was cached for calls outside of graphs is of no use to captured ones, nor the other way round.
        """
        known = torch.cuda.memory_stats_as_nested_dict(self.index)  # the flat form takes eight times as long to make
        if known["reserved_bytes"]["all"]["current"] - known["allocated_bytes"]["all"]["current"] > _CACHED_BYTES:
            self.wait()
            torch.cuda.empty_cache()

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
            self.lost = _HUNG
            raise

    @contextlib.contextmanager
    def current(self, stream: torch.cuda.Stream) -> Iterator[None]:
        """Make a stream of this device the current one, some two hundred times a gate.

        `torch.cuda.stream` looks three times for the device that is current, and takes three times as long.
        """
        before = torch.cuda.current_stream(self.index)
        torch.cuda.set_stream(stream)
        try:
            yield
        finally:
            torch.cuda.set_stream(before)

    @contextlib.contextmanager
    def running(self, doing: str) -> Iterator[None]:
        """Make this device's stream current and turn autograd off; CUDA errors become `CandidateError`."""
        if self.lost:
            raise CandidateError(
                f"Not run: the CUDA context of this process was lost ({self.lost}).",
                "Run this test again in a new process, without the test that lost the context.",
            )
        try:
            with torch.cuda.device(self.index), self.current(self.stream), torch.no_grad():
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


def _own_stream(index: int) -> torch.cuda.Stream:
    """A stream that nobody else gets: `torch.cuda.Stream()` gives one of 32, which a candidate is given in turn, too.

    One that waits for no other and is on none's terms, as PyTorch's are.
    """
    kind = driver.bindings().CUstream_flags.CU_STREAM_NON_BLOCKING
    made = driver.demand("The CUDA driver could not make a stream:", driver.CONTEXT_LOST, "cuStreamCreate", kind)
    return torch.cuda.ExternalStream(int(made), device=index)


def is_real(device: Device) -> bool:
    """Whether kernels run on it; a fake device may say that it is a GPU, and is no CudaContext."""
    return device.kind == "host" or isinstance(device, CudaContext)
