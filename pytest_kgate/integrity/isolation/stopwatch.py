"""Times an isolated candidate, which may send any message at any time, by the clock of the judging process.

A sample is a row of calls, each on its own values in a new block of shared memory. The clock starts before the
candidate's process gets the block, so that it has seen none of the values. It stops when the outputs of two calls,
chosen at random, have been copied to memory that the candidate's process can't reach. All work must happen in between,
or the outputs lack it; they are verified after the race.

A sample is thus never shorter than the work that was done. It includes the round trip to the other process, which is
not subtracted, since a candidate that cheats could avoid a part of it. The reference runs in this process without one.
A row does not show whether its calls ran one after the other, since all values are handed over at once.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal

import numpy as np
from torch import Tensor

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.device import CudaDevice
from pytest_kgate.device.host import no_garbage_collection
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Round
from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.device.protocol import Workload
from pytest_kgate.device.rows import BufferSet
from pytest_kgate.integrity.isolation.kept_answers import LOTS
from pytest_kgate.integrity.isolation.kept_answers import KeepsAnswers
from pytest_kgate.integrity.isolation.kept_answers import KeptAnswers
from pytest_kgate.integrity.isolation.kept_answers import copy_from_anywhere
from pytest_kgate.integrity.isolation.kept_answers import fill
from pytest_kgate.integrity.isolation.kept_answers import lots
from pytest_kgate.integrity.isolation.reference_row import ReferenceRow
from pytest_kgate.integrity.isolation.reference_row import reference_row
from pytest_kgate.integrity.isolation.shared_memory.host import make_block
from pytest_kgate.integrity.isolation.shared_memory.layout import Layout
from pytest_kgate.problems.trees import tree
from pytest_kgate.system.clocks.spent import add_spent
from pytest_kgate.system.cpu_load import wait_until_quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_kgate.integrity.isolation.process.parent import CandidateProcess

Seeds = Callable[[int, int], int]
"""From a row's number and a call's to the seed of its values; no seed tells another."""

_ROW_SECONDS = {"host": 20e-3, "cuda": 30e-3}
"""The latency of a reference's row, by which the number of calls is chosen: long beside the round trip to the
process."""

_MOST_CALLS = 512
_MOST_BYTES = {"host": 2**28, "cuda": 2**32}
"""Limits of a row: all its values must be drawn anew for every sample."""

_COLD = 3
"""How many times the L2 cache the reference's sets fill, if the row has calls enough: a set is evicted before its next
turn. A set for each call would take most of a round to draw."""

_SETTLE_SECONDS = 10e-3
"""The longest pause before a row on the host, in which spinning worker threads fall asleep; see `device/host.py`."""


class IsolatedStopwatch(KeepsAnswers):
    """A stopwatch that times the candidate's rows in its own process, and the reference's in this one."""

    timer = "wall"
    launched_by: Literal["candidate", "timer"] = "candidate"
    offset_sd = 0.0

    def __init__(
        self,
        device: Device,
        process: CandidateProcess,
        reference: Arm,
        workload: Workload,
        values: Seeds,
        reference_values: Seeds,
    ) -> None:
        self.cache = "cold" if device.kind == "cuda" else "hot"
        self.run_length = 5 if device.kind == "host" else 1
        self.tick_seconds = time.get_clock_info("perf_counter").resolution
        self.warnings = [
            "isolated: the candidate's latency holds the way to its process and back, the reference's not",
            "isolated: a candidate that makes the calls of a row at the same time shows a throughput, no latency",
        ]
        self._device = device
        self._process = process
        self._reference = reference
        self._workload = workload
        self._values = values
        self._reference_values = reference_values
        self._row = 0
        self._reference_row_number = 0
        with device.running("preparing the rows"):
            inputs = workload.draw(0)
            output = workload.make_answer(inputs)
            self._like = output
            self._sets = 1
            self._reference_once = once = min(self._reference_seconds(1, 3))
            slot = Layout.of(inputs, output, 1).slot_bytes
            calls = min(_ROW_SECONDS[device.kind] / max(once, 1e-9), _MOST_CALLS, _MOST_BYTES[device.kind] / slot)
            self._layout = Layout.of(inputs, output, max(1, math.ceil(calls)))
            cold = _COLD * device.l2_bytes // slot + 1 if isinstance(device, CudaDevice) else self._layout.calls
            self._sets = min(cold, self._layout.calls)
            self._kept = KeptAnswers(output)
            with contextlib.closing(make_block(device, self._layout.nbytes)) as block:
                self._fill(block.bytes)
                device.synchronize()
                refused = process.prepare(self._layout, block, graph=device.kind == "cuda")
            if refused is not None:
                self.warnings.append(f"the candidate can't be captured in a CUDA graph ({refused}): plain launches")
            start = time.perf_counter()
            self._candidate_seconds()
            self.calls = self._layout.calls
            self._sample_seconds = time.perf_counter() - start + once * self.calls

    def round(self, seeds: RoundSeeds, order: NDArray[np.intp]) -> Round:
        """One round. Each row of the candidate gets new values and memory; rows of the reference share fewer sets."""
        calls = self._layout.calls
        taken: tuple[list[float], list[float]] = ([], [])
        with self._device.running("timing"), contextlib.ExitStack() as stack:
            row = stack.enter_context(self._reference_row(calls))
            for arm in order:
                taken[arm].append((self._settled(row) if arm else self._candidate_seconds()) / calls)
        return Round(np.array(taken), np.zeros(2))

    def reference_alone(self, rounds: int, samples: int) -> NDArray[np.float64]:
        """(rounds, samples): latencies of the reference, to be called once the candidate's process has ended."""
        calls = self._layout.calls
        with self._device.running("timing the reference"):
            return np.array([self._reference_seconds(calls, samples) for _ in range(rounds)]) / calls

    def close(self) -> None:
        """Do nothing: no memory is held between rounds."""

    def _candidate_seconds(self) -> float:
        """Seconds of one row in the other process; outputs of calls chosen at random are kept."""
        with contextlib.closing(make_block(self._device, self._layout.nbytes)) as block:
            seeds = self._fill(block.bytes)
            mine = [tree.copy(self._like) for _ in range(min(LOTS, len(seeds)))]
            self._settle()
            self._device.synchronize()
            with no_garbage_collection():
                start = time.perf_counter()
                self._process.run(block)
                chosen = lots(range(len(seeds)))  # when the candidate says that it has done its work
                for copy, call in zip(mine, chosen, strict=True):
                    copy_from_anywhere(copy, self._layout.views(block.bytes, call)[1])
                self._device.synchronize()
                spent = time.perf_counter() - start
        for call, copy in zip(chosen, mine, strict=True):
            self._kept.offer(seeds[call], copy)
        return spent

    def _fill(self, block: Tensor) -> list[int]:
        """Fill a block with new values for a row; returns the seed of each call."""
        self._row += 1
        seeds = [self._values(self._row, call) for call in range(self._layout.calls)]
        fill(self._layout, block, self._workload, seeds)
        return seeds

    def _reference_seconds(self, calls: int, times: int) -> list[float]:
        with self._reference_row(calls) as row:
            return [self._settled(row) for _ in range(times)]

    def _reference_row(self, calls: int) -> AbstractContextManager[ReferenceRow]:
        self._reference_row_number += 1
        sets = [self._own_set(self._reference_values(self._reference_row_number, call)) for call in range(self._sets)]
        return reference_row(self._device, self._reference, sets, calls, self._workload.mutates)

    def _settled(self, row: ReferenceRow) -> float:
        self._settle()
        return row.seconds()

    def _own_set(self, seed: int) -> BufferSet:
        inputs: tuple[Any, ...] = self._workload.draw(seed)
        return inputs, [self._workload.output_for(self._reference, inputs)]

    def _settle(self) -> None:
        if self._device.kind == "host":
            add_spent("settle", wait_until_quiet(_SETTLE_SECONDS, self._process.pid))
