"""Rows of calls of the reference, timed in the judging process beside an isolated candidate.

A row has as many calls as the candidate's, on values that the L2 cache does not hold. Only its calls are timed, not the
launch of the row, so that the reference is never charged more than its work.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import prepare
from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.device.cuda.timers.capture import Captures
from pytest_kgate.device.cuda.timers.stopwatch import elapsed_seconds
from pytest_kgate.device.host import no_garbage_collection
from pytest_kgate.device.rows import BufferSet
from pytest_kgate.device.rows import by_turn
from pytest_kgate.device.rows import in_a_row
from pytest_kgate.errors import TimingError
from pytest_kgate.problems.trees import tree

if TYPE_CHECKING:
    import torch

    from pytest_kgate.device.protocol import Device


class ReferenceRow(Protocol):
    """A row of calls that can be timed more than once."""

    def seconds(self) -> float:
        """Seconds of the whole row, timed anew."""
        ...


@contextlib.contextmanager
def reference_row(
    device: Device, arm: Arm, sets: Sequence[BufferSet], calls: int, mutates: Sequence[int] = ()
) -> Iterator[ReferenceRow]:
    """A row of `calls` calls of the arm, which take the sets of inputs and outputs in turn; use as a context.

    The inputs at the positions of `mutates`, which calls change, are written back before each row.
    """
    before = _before(arm, [inputs for inputs, _ in sets], mutates)
    if not isinstance(device, CudaContext):
        yield HostRow(arm, sets, calls, before)
        return
    row = CudaRow(device, arm, sets, calls, before)
    try:
        yield row
    finally:
        row.close()


def _before(arm: Arm, sets: Sequence[tuple[Any, ...]], mutates: Sequence[int]) -> Callable[[], None]:
    """What is to be done before each row: write back what calls change, and prepare them."""
    own = [[inputs[place] for place in mutates] for inputs in sets]
    pristine = tree.copy(own)

    def before() -> None:
        tree.write(own, pristine)
        prepare([arm], sets)

    return before


class HostRow:
    """A row on the host, by the host's clock."""

    def __init__(self, arm: Arm, sets: Sequence[BufferSet], calls: int, before: Callable[[], None]) -> None:
        self._before = before
        self._call = by_turn((arm,), 0, sets)
        self._row = in_a_row(self._call, calls)

    def seconds(self) -> float:
        """Seconds of the row, after an untimed call that wakes the worker threads up."""
        with no_garbage_collection():
            self._call(0)
            self._before()
            start = time.perf_counter()
            self._row()
            return time.perf_counter() - start


class CudaRow:
    """A row on a GPU, by CUDA events around a replay of its graph, or around plain launches where it can't be captured.

    The GPU is kept busy until all is enqueued, so that the host's time is not measured: by another replay of the graph
    before, or by a blocking kernel on the stream. The latter does not go with long graphs, since the driver queues only
    about a thousand launches behind it.
    """

    def __init__(
        self, device: CudaContext, arm: Arm, sets: Sequence[BufferSet], calls: int, before: Callable[[], None]
    ) -> None:
        import torch

        self._before = before
        self._device = device
        call = by_turn((arm,), 0, sets)
        self._row = in_a_row(call, calls)
        self._held = True
        self._captures = Captures(device)
        self._graph: torch.cuda.CUDAGraph | None = None
        if arm.prepare is None and self._captures.refusal(call) is None:
            self._graph, _ = self._captures.capture(call, calls)
            self._row = self._graph.replay
            self._held = False
        self._pair = (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))

    def seconds(self) -> float:
        """Seconds between the two events; raises `TimingError` where the host was too slow to enqueue the row."""
        instruments, stream = self._device.instruments, self._device.stream
        self._before()
        self._device.wait()
        self._device.give_way()  # as the candidate's row follows another process
        if self._held:
            instruments.hold(stream)
        else:
            self._row()
        self._pair[0].record(stream)
        self._row()
        self._pair[1].record(stream)
        if self._held:
            instruments.release()
        self._device.wait()
        if self._held and instruments.host_was_late():
            raise TimingError(
                "The reference can't be captured in a CUDA graph, and a row of it can't be enqueued in half a second.",
                "Use a reference that can be captured, or leave --kgate-isolate out.",
            )
        return float(elapsed_seconds([self._pair])[0])

    def close(self) -> None:
        """Free the graph and its memory."""
        if self._graph is not None:
            self._graph.reset()
        self._captures.close()
