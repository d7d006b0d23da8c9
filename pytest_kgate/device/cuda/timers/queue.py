"""The queue timer: rows of single launches on a held stream, for arms that can't be captured in a CUDA graph."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.timers.capture import Captures
from pytest_kgate.device.cuda.timers.slope import Lengths
from pytest_kgate.device.cuda.timers.slope import SlopeStopwatch
from pytest_kgate.device.protocol import Workload
from pytest_kgate.device.rows import LONG
from pytest_kgate.device.rows import SHORT
from pytest_kgate.device.rows import BufferSet
from pytest_kgate.device.rows import Row
from pytest_kgate.device.rows import by_turn
from pytest_kgate.device.rows import in_a_row

if TYPE_CHECKING:
    import numpy as np

    from pytest_kgate.device.cuda.context import CudaContext

REFERENCE = 1


class QueueStopwatch(SlopeStopwatch):
    """Times rows of calls that the host launches one by one while the stream is held.

    A candidate that can't be captured may be a graph itself, and the device begins a graph sooner than a launch of the
    host (by 0.9 us, for a flash attention on an H200). So that this is no win, the reference is then launched as a
    graph of one call, captured anew each round: a candidate of plain launches reads too slow by that much, never too
    fast.
    """

    timer = "queue"
    row_seconds = 100e-6
    most_launches = 16  # a launch costs the host 5 to 50 us, and the device takes about a thousand in advance
    when_late = (
        "The candidate or the reference waits for the GPU inside its call, so a launch can't be queued.",
        "Remove the synchronisation (`.item()`, `.cpu()`, `torch.cuda.synchronize()`), or time whole calls "
        "with --kgate-timer eager.",
    )

    def __init__(
        self, device: CudaContext, arms: Sequence[Arm], workload: Workload, cache: str, *, reference_by_graph: bool
    ) -> None:
        super().__init__(device, arms, workload, cache)
        self._captures: Captures | None = None
        if reference_by_graph:
            with device.running("capturing"):
                self._captures = Captures(device)

    def close(self) -> None:
        """Release the memory pool of the captures, too."""
        super().close()
        if self._captures is not None:
            self._captures.close()

    @contextlib.contextmanager
    def rows(
        self, sets: Sequence[BufferSet], rng: np.random.Generator, lengths: Lengths
    ) -> Iterator[Mapping[Row, Callable[[], Any]]]:
        """The rows: plain launches, or replays of graphs of one call each."""
        with contextlib.ExitStack() as stack:
            rows = {
                (arm, length): self.launches_of(arm, sets, lengths[arm][length])
                for arm in range(len(self.arms))
                for length in (SHORT, LONG)
            }
            if self._captures is not None:
                calls = by_turn(self.arms, REFERENCE, sets)
                replay = stack.enter_context(self._graphs(self._captures, calls, len(sets)))
                for length in (SHORT, LONG):
                    if lengths[REFERENCE][length]:
                        rows[REFERENCE, length] = (replay, lengths[REFERENCE][length])
            yield {row: in_a_row(*made) for row, made in rows.items()}

    @contextlib.contextmanager
    def _graphs(self, captures: Captures, call: Callable[[int], Any], sets: int) -> Iterator[Callable[[int], Any]]:
        made = [captures.capture(functools.partial(_at, call, turn), 1) for turn in range(sets)]

        def replay(turn: int) -> Any:
            graph, results = made[turn % sets]
            graph.replay()
            return results[-1]

        yield replay
        for graph, _ in made:
            graph.reset()


def _at(call: Callable[[int], Any], turn: int, _: int) -> Any:
    """Make the call of this turn; the turn that a capture of a single launch counts, always 0, is ignored."""
    return call(turn)
