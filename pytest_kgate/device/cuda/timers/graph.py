"""The graph timer, the default: rows of launches captured as CUDA graphs, with a hot or a cold cache."""

from __future__ import annotations

import contextlib
import itertools
import secrets
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import torch

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.timers.capture import Captures
from pytest_kgate.device.cuda.timers.slope import Lengths
from pytest_kgate.device.cuda.timers.slope import SlopeStopwatch
from pytest_kgate.device.cuda.timers.stopwatch import PAD_STEP
from pytest_kgate.device.cuda.timers.stopwatch import PAD_STEPS
from pytest_kgate.device.protocol import Workload
from pytest_kgate.device.rows import LONG
from pytest_kgate.device.rows import READABLE
from pytest_kgate.device.rows import SHORT
from pytest_kgate.device.rows import BufferSet
from pytest_kgate.device.rows import Row
from pytest_kgate.errors import TimingError
from pytest_kgate.problems.trees import tree

if TYPE_CHECKING:
    import numpy as np

    from pytest_kgate.device.cuda.context import CudaContext

_LAUNCHES_BEHIND = 100
"""A graph with a memset reads differently while less than about 150 of its nodes are enqueued behind it: cuDNN's
attention at 1x8x512x64, 9.1 us a call, 9.7 us on hosts with several H200 and 8.9 us on one with a single one, in the
last four of ten samples of each round. With 50 empty kernels behind, all samples read the same."""


class GraphStopwatch(SlopeStopwatch):
    """Times replays of CUDA graphs, one graph a row, captured anew each round.

    A graph carries an offset of up to 1.6 % for as long as it lives, which new captures turn into noise. To average it
    within a round as well, three graphs take turns as the long row, each half as long as a single one would be.
    """

    timer = "graph"
    row_seconds = 100e-6
    most_launches = 100
    twins = 3
    when_late = (
        "The host could not enqueue one replay of a graph within half a second.",
        "The machine is overloaded: free a CPU core.",
    )

    def __init__(self, device: CudaContext, arms: Sequence[Arm], workload: Workload, cache: str) -> None:
        super().__init__(device, arms, workload, cache)
        with device.running("capturing"):
            self._captures = Captures(device)
            stream = device.capture_stream
            self._behind, _ = self._captures.capture(lambda turn: device.instruments.null(stream), _LAUNCHES_BEHIND)
        if not any(short for short, _ in self.lengths):
            self.twins = 1  # what one graph has beyond another is no part worth measuring of a slow kernel

    def close(self) -> None:
        """Release the memory pool of the captures, too."""
        super().close()
        self._behind.reset()
        self._captures.close()

    @contextlib.contextmanager
    def rows(
        self, sets: Sequence[BufferSet], rng: np.random.Generator, lengths: Lengths
    ) -> Iterator[Mapping[Row, Callable[[], Any]]]:
        """Capture the rows as graphs in random order; the graphs are destroyed when the round is over.

        Of the candidate's long rows only one leaves a large answer to be read: that of each would take memory.
        """
        with contextlib.ExitStack() as stack:
            wanted = [(arm, length) for arm in range(len(self.arms)) for length in (SHORT, *[LONG] * self.twins)]
            graphs: dict[Row, list[Callable[[], Any]]] = {}
            to_read = secrets.randbelow(self.twins)  # no candidate knows which, as its calls are captured
            for index in rng.permutation(len(wanted)):
                arm, length = wanted[index]
                pad_bytes = int(rng.integers(1, PAD_STEPS)) * PAD_STEP
                twins = graphs.setdefault((arm, length), [])
                read = (arm, length) == (0, LONG) and len(twins) == to_read
                call, launches = self.launches_of(arm, sets, lengths[arm][length])
                row = self._graph(call, launches, pad_bytes, read=read, arm=self.arms[arm].name)
                twins.append(stack.enter_context(row))
            readable = graphs[0, LONG][to_read]
            yield {READABLE: readable} | {key: _taking_turns(several) for key, several in graphs.items()}

    def fill_behind(self) -> None:
        """Enqueue empty kernels, in a graph of their own, since a hundred launches take the host 0.7 ms each round."""
        self._behind.replay()

    def give_up_holding(self) -> None:
        """A graph of thousands of launches is more than a GPU takes in advance, and no host could enqueue it.

        Where calls are timed one by one, they are so slow that what the host holds up is a small part.
        """
        if any(short for short, _ in self.lengths):
            super().give_up_holding()
        self._holds = False
        self.warnings.append(
            "a call has more launches than the GPU takes in advance: they were enqueued while it ran, so latencies "
            "hold what it waited for the host, if it did"
        )

    @contextlib.contextmanager
    def row_of(self, call: Callable[[int], Any], launches: int) -> Iterator[Callable[[], Any]]:
        """Capture this row as one more graph."""
        with self._graph(call, launches, 0, read=False, arm=self.arms[0].name) as row:
            yield row

    @contextlib.contextmanager
    def _graph(
        self, call: Callable[[int], Any], launches: int, pad_bytes: int, *, read: bool, arm: str
    ) -> Iterator[Callable[[], Any]]:
        try:
            graph, results = self._captures.capture(call, launches, pad_bytes=pad_bytes, keep=self.cache == "cold")
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._captures.recover()
            self.device.wait()  # which says so where a kernel has faulted
            raise TimingError(
                f"A call of the {arm} can't be captured in a CUDA graph, though the calls before it could be "
                f"({str(error).splitlines()[0]}).",
                "Calls that do other work now and then, such as an autotuner that runs again, can be timed with "
                "--kgate-timer queue; tune before the test, or for each shape once.",
            ) from error
        if not read and self.cache == "hot" and tree.size_bytes(results) > self.device.l2_bytes:
            results = [None]  # the next graph's answers lie in the same memory, which no cache holds anyway

        def replay() -> Any:
            graph.replay()
            return results[-1]

        yield replay
        graph.reset()


def _taking_turns(replays: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
    """A function that replays one of these graphs, at each call the next one."""
    turns = itertools.cycle(replays)
    return lambda: next(turns)()
