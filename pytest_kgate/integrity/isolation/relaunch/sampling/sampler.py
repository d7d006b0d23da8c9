"""One sample of a row's latency on values that come within it; the same for the timer's process and the judging one.

    warm-up ... | values of the short row | event, short row, event | of the long one | event, long row, event | warm-up

Values lie encrypted until their row's turn. No launch before, the warm-up's least of all, can so compute from them or
keep anything of them, and the calls of one row find nothing of the other's.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_kgate.device.cuda import driver
from pytest_kgate.integrity.isolation.relaunch.sampling.plan import RowPlan

_PIECE = 16
"""Bytes that the kernels take at once; slots are multiples of it."""

_THREADS = 512
_TOUCHES = 8
"""How many SMs read each value: two suffice if they lie in different halves of the chip, and one in 128 does not."""


@dataclass(frozen=True)
class RowGraphs:
    """Executable graphs of the three rows."""

    warm: Any
    short: Any
    long: Any


class ValueKernels:
    """The kernels of `values.cu` on one device, whose context is current."""

    def __init__(self, index: int) -> None:
        image = Path(__file__).with_name("values.ptx").read_bytes() + b"\0"
        module = driver.call("cuModuleLoadData", image)
        self._encrypt = driver.call("cuModuleGetFunction", module, b"kgate_encrypt")
        self._touch = driver.call("cuModuleGetFunction", module, b"kgate_touch")
        count = driver.bindings().CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
        self._blocks = int(driver.call("cuDeviceGetAttribute", count, driver.call("cuDeviceGet", index)))

    def encrypt(self, stream: int, to: int, source: int, size: int, place: int, key: tuple[int, int]) -> None:
        """Enqueue: copy `size` bytes, from byte `place` of a whole on, encrypted; encrypted again they are plain."""
        arguments = (to, source, size // _PIECE, place // _PIECE, *key)
        self._launch(self._encrypt, 4 * self._blocks, stream, arguments, (ctypes.c_uint64,) * 6)

    def touch(self, stream: int, address: int, size: int) -> None:
        """Enqueue: read these bytes, so that caches hold them as they do after an earlier call."""
        types = (ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint64)
        self._launch(self._touch, self._blocks, stream, (address, size // _PIECE, _TOUCHES, 0), types)

    def _launch(self, function: Any, blocks: int, stream: int, values: tuple[int, ...], types: tuple[Any, ...]) -> None:
        driver.call("cuLaunchKernel", function, blocks, 1, 1, _THREADS, 1, 1, 0, stream, (values, types), 0)


class Sampler:
    """Enqueues samples on a stream, and reads the events of the last one."""

    def __init__(self, kernels: ValueKernels, stream: int, plan: RowPlan, block: int, encrypted: int) -> None:
        """`block` and `encrypted` are addresses: of all slots, and of those with the values to come."""
        self._kernels = kernels
        self._stream = stream
        self._plan = plan
        self._block = block
        self._encrypted = encrypted
        self._events = [driver.call("cuEventCreate", 0) for _ in range(4)]

    def replay_once(self, graphs: RowGraphs) -> None:
        """Enqueue what is timed, untimed, on what the slots hold: the first replay of a graph takes longer.

        On an H200 the first sample of each round read 2 to 5 % more.
        """
        for graph in (graphs.short, graphs.long):
            driver.call("cuGraphLaunch", graph, self._stream)

    def enqueue(self, graphs: RowGraphs, key: tuple[int, int]) -> bool:
        """Enqueue one sample; False where the device was waiting before all that counts was enqueued."""
        for _ in range(self._plan.warm_ups):
            driver.call("cuGraphLaunch", graphs.warm, self._stream)
        for at, (row, graph) in enumerate(zip(self._plan.rows, (graphs.short, graphs.long), strict=True)):
            self._bring(row, key)
            driver.call("cuEventRecord", self._events[2 * at], self._stream)
            driver.call("cuGraphLaunch", graph, self._stream)
            driver.call("cuEventRecord", self._events[2 * at + 1], self._stream)
        for _ in range(self._plan.behind):
            driver.call("cuGraphLaunch", graphs.warm, self._stream)
        try:
            driver.call("cuEventQuery", self._events[0])
        except driver.DriverError:  # not yet: so it is to be
            return True
        return False

    def elapsed(self) -> tuple[float, float]:
        """Seconds of the short and of the long row; ask once the stream is idle."""
        first, second, third, fourth = self._events
        short = driver.call("cuEventElapsedTime", first, second)
        return float(short) * 1e-3, float(driver.call("cuEventElapsedTime", third, fourth)) * 1e-3

    def _bring(self, row: range, key: tuple[int, int]) -> None:
        place, size = row.start * self._plan.slot_bytes, len(row) * self._plan.slot_bytes
        self._kernels.encrypt(self._stream, self._block + place, self._encrypted + place, size, place, key)
        self._kernels.touch(self._stream, self._block + place, size)
