"""Small kernels for measuring (empty, spin, clock, hold, chase), launched through the driver without a compiler."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import torch

from pytest_kgate.device.cuda import driver

_HOLD_TIMEOUT_NS = 500_000_000
"""Long against enqueueing a round (a few ms), short against a person's patience when the candidate synchronises."""

_CLOCK_NS = 20_000
"""Long enough that the ends of the measurement, 20 ns each, are a thousandth of it."""


class Instruments:
    """The measuring kernels, loaded on one device; make this object with that device current."""

    def __init__(self) -> None:
        torch.cuda.current_stream().synchronize()  # makes the primary context, which the module is loaded into
        self.image = Path(__file__).with_name("instruments.ptx").read_bytes() + b"\0"
        self._module = _call("load the timing kernels", "cuModuleLoadData", self.image)
        self._null = self._function("kgate_null")
        self._spin = self._function("kgate_spin")
        self._hold = self._function("kgate_hold")
        self._clock = self._function("kgate_clock")
        self._chase = self._function("kgate_chase")
        # Two 32-bit words that host and device both see: released, and late.
        self._flags_memory = torch.zeros(2, dtype=torch.int32).pin_memory()
        self._flags = (ctypes.c_uint32 * 2).from_address(self._flags_memory.data_ptr())

    def null(self, stream: torch.cuda.Stream) -> None:
        """Enqueue an empty kernel."""
        self._launch(self._null, stream)

    def spin(self, stream: torch.cuda.Stream, cycles: int, spent: torch.Tensor | None = None) -> None:
        """Enqueue one thread that spins for this many SM clock cycles; `spent`, one int64, gets the cycles it took."""
        self._launch(self._spin, stream, cycles, 0 if spent is None else spent.data_ptr())

    def clock(self, stream: torch.cuda.Stream, reading: torch.Tensor) -> None:
        """Enqueue a measurement of the SM clock: `reading`, two int64 on the device, gets cycles and nanoseconds."""
        self._launch(self._clock, stream, reading.data_ptr(), _CLOCK_NS)

    def chase(self, stream: torch.cuda.Stream, chain: torch.Tensor, steps: int, reading: torch.Tensor) -> None:
        """Enqueue one thread that follows a chain of int64 pointers; `reading`, two int64, gets cycles and the last."""
        self._launch(self._chase, stream, chain.data_ptr(), steps, reading.data_ptr())

    def hold(self, stream: torch.cuda.Stream) -> None:
        """Hold the stream until `release`; it lets go by itself after half a second."""
        self._flags[0] = self._flags[1] = 0
        self._launch(self._hold, stream, self._flags_memory.data_ptr(), _HOLD_TIMEOUT_NS)

    def release(self) -> None:
        """Let the held stream run."""
        self._flags[0] = 1

    def host_was_late(self) -> bool:
        """Whether the stream let go before `release`; ask once the stream has run past the hold."""
        return bool(self._flags[1])

    def _function(self, name: str) -> Any:
        return _call(f"find {name}", "cuModuleGetFunction", self._module, name.encode())

    def _launch(self, function: Any, stream: torch.cuda.Stream, *arguments: int) -> None:
        """One thread; every argument of these kernels is an integer or a pointer of 64 bits."""
        values = (arguments, (ctypes.c_uint64,) * len(arguments)) if arguments else 0
        grid = block = (1, 1, 1)
        _call("launch a timing kernel", "cuLaunchKernel", function, *grid, *block, 0, stream.cuda_stream, values, 0)


def _call(doing: str, name: str, *arguments: Any) -> Any:
    return driver.demand(f"The CUDA driver could not {doing}:", driver.CONTEXT_LOST, name, *arguments)
