"""Times an isolated candidate whose kernels another process can launch: its own process has ended by then.

The timer's process (ours) launches what the candidate's process said that a call launches, call after call, on values
that come within the sample. This process draws the values and keeps answers to calls drawn by lot, which are verified
after the race. It times the reference in the same way: the same memory, the same values' way there, the same rows.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal

import numpy as np
import torch

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.device import CudaDevice
from pytest_kgate.device.host import no_garbage_collection
from pytest_kgate.device.protocol import Round
from pytest_kgate.device.protocol import RoundSeeds
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import TimingError
from pytest_kgate.errors import wrote_beyond
from pytest_kgate.integrity.isolation.captured.launches import KernelLaunch
from pytest_kgate.integrity.isolation.captured.launches import NotRelaunchable
from pytest_kgate.integrity.isolation.kept_answers import KeepsAnswers
from pytest_kgate.integrity.isolation.kept_answers import KeptAnswers
from pytest_kgate.integrity.isolation.kept_answers import fill
from pytest_kgate.integrity.isolation.kept_answers import lots
from pytest_kgate.integrity.isolation.relaunch.reference_rows import reference_rows
from pytest_kgate.integrity.isolation.relaunch.sampling.plan import RowPlan
from pytest_kgate.integrity.isolation.relaunch.sampling.plan import latencies
from pytest_kgate.integrity.isolation.relaunch.sampling.sampler import RowGraphs
from pytest_kgate.integrity.isolation.relaunch.sampling.sampler import Sampler
from pytest_kgate.integrity.isolation.relaunch.sampling.sampler import ValueKernels
from pytest_kgate.integrity.isolation.relaunch.timer_process import Faulted
from pytest_kgate.integrity.isolation.relaunch.timer_process import TimerProcess
from pytest_kgate.integrity.isolation.shared_memory.cuda import CudaBlock
from pytest_kgate.integrity.isolation.shared_memory.layout import FILL
from pytest_kgate.integrity.isolation.shared_memory.layout import Layout
from pytest_kgate.problems.trees import tree
from pytest_kgate.system.clocks.spent import spent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_kgate.integrity.isolation.stopwatch import Seeds

Verify = Callable[[tuple[Any, ...], Any], "str | None"]

_OVERHEAD_TOLERANCE = 1e-6
"""Seconds by which the fixed part of a candidate's row may exceed the reference's; beyond, it counts as latency."""

_OFFSET_SD = 0.005
"""By which the log ratio of a whole race is off, as a standard deviation: where a process's context put its code and
data favours an arm for as long as it lives. Of kernels against themselves on three H100, `latency` was off by 0.02 and
0.32 % in the mean, `wmma` by -0.08 %, `mma` by 0.64 and 0.89 %, and single races by at most 0.96 %
(benchmarks/h100/isolated-*-2026-11-27.json)."""

_TRIES = 20
"""How often a sample is taken for which the host was late."""


class RelaunchStopwatch(KeepsAnswers):
    """A stopwatch that times the candidate's launches in the timer's process, and the reference's in this one."""

    timer = "graph"
    launched_by: Literal["candidate", "timer"] = "timer"
    run_length = 1
    tick_seconds = 32e-9
    offset_sd = _OFFSET_SD

    def __init__(
        self,
        device: CudaDevice,
        calls: Sequence[Sequence[KernelLaunch]],
        images: Sequence[bytes],
        plan: RowPlan,
        reference: Arm,
        workload: Workload,
        values: Seeds,
        reference_values: Seeds,
        verify: Verify,
    ) -> None:
        """`verify` says why an answer is wrong. Raises `NotRelaunchable` where the launches don't give right ones."""
        self.cache = "hot" if plan.fits_l2 else "cold"
        self.warnings: list[str] = []
        self._device = device
        self._plan = plan
        self.calls = plan.long
        self._reference = reference
        self._workload = workload
        self._seeds = (values, reference_values)
        self._samples = [0, 0]
        self._retaken = 0
        self._prepared = False
        self._stack = contextlib.ExitStack()
        try:
            with device.running("preparing the rows"):
                self._prepare(calls, images, verify)
        except BaseException:
            self.close()
            raise

    def _prepare(self, calls: Sequence[Sequence[KernelLaunch]], images: Sequence[bytes], verify: Verify) -> None:
        device, plan = self._device, self._plan
        inputs = self._workload.draw(self._seeds[1](0, 0))
        like = self._workload.make_answer(inputs)
        self._kept = KeptAnswers(like)
        self._layout = Layout.of(inputs, like, plan.timed)
        self._plain = torch.full((self._layout.nbytes,), FILL, dtype=torch.uint8, device=device.torch_device)
        self._block = CudaBlock(device.index, plan.slots * plan.slot_bytes)
        self._stack.callback(self._block.close)
        self._encrypted = CudaBlock(device.index, self._layout.nbytes)
        self._stack.callback(self._encrypted.close)
        warm_inputs, _ = self._layout.views(self._block.bytes, plan.warm_slot)
        tree.write(warm_inputs, inputs)
        device.synchronize()
        self._kernels = ValueKernels(device.index)
        addresses = (self._block.bytes.data_ptr(), self._encrypted.bytes.data_ptr())
        self._sampler = Sampler(self._kernels, device.stream.cuda_stream, plan, *addresses)
        try:
            with spent("start"):
                self._timer: TimerProcess | None = TimerProcess(device)
                reaches = self._timer.load(device.index, plan, self._block, self._encrypted, calls, images)
            self._verify(verify)
            start = time.perf_counter()
            self._candidate_sample()
        except Faulted as fault:
            raise NotRelaunchable(f"launched by another process its kernels fault ({fault})") from None
        self._prepared = True
        if reaches:
            self.warnings.append(
                "isolated: on this machine kernels can reach host memory of the process that launches them, so that a "
                "kernel made for it could forge its times"
            )
        with self._reference_rows() as rows:
            self._reference_once = latencies(*self._reference_sample(rows), plan, math.inf)[0]
        self._sample_seconds = time.perf_counter() - start

    def round(self, seeds: RoundSeeds, order: NDArray[np.intp]) -> Round:
        """One round: graphs are made anew, and each sample has new values."""
        plan, retaken = self._plan, self._retaken
        taken: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
        with self._device.running("timing"), self._reference_rows() as rows:
            with self._blamed() as timer:
                timer.renew()
            for arm in order:
                taken[arm].append(self._reference_sample(rows) if arm else self._candidate_sample())
        reference = np.array([latencies(*pair, plan, math.inf) for pair in taken[1]])
        most_overhead = float(np.median(reference[:, 1])) + _OVERHEAD_TOLERANCE
        candidate = np.array([latencies(*pair, plan, most_overhead) for pair in taken[0]])
        seconds = np.stack([candidate[:, 0], reference[:, 0]])
        overhead = np.array([np.median(candidate[:, 1]), np.median(reference[:, 1])])
        return Round(seconds, overhead, self._retaken - retaken)

    def reference_alone(self, rounds: int, samples: int) -> NDArray[np.float64]:
        """(rounds, samples): latencies of the reference, after the process that launches the candidate has ended."""
        self._end_timer()
        found = []
        with self._device.running("timing the reference"):
            for _ in range(rounds):
                with self._reference_rows() as rows:
                    taken = [self._reference_sample(rows) for _ in range(samples)]
                found.append([latencies(*pair, self._plan, math.inf)[0] for pair in taken])
        return np.array(found)

    def close(self) -> None:
        """End the timer's process and free the memory."""
        self._end_timer()
        self._stack.close()

    def _end_timer(self) -> None:
        timer, self._timer = getattr(self, "_timer", None), None
        if timer is not None:
            timer.close()

    def _verify(self, verify: Verify) -> None:
        """One untimed sample, each of whose answers must be right: what host code has set up may be missing."""
        seeds, _ = self._candidate_pair()
        for call, seed in enumerate(seeds):
            reason = verify(self._workload.draw(seed), self._layout.views(self._block.bytes, call)[1])
            touched = self._layout.first_overwritten(self._block.bytes, call)
            if reason is not None or touched is not None:
                raise NotRelaunchable(
                    "launched by another process its kernels give another answer, so that something is missing there "
                    f"({reason or 'memory beside the output has changed'})"
                )

    def _candidate_sample(self) -> tuple[float, float]:
        """Seconds of both rows; outputs of calls of the long one, chosen when it is over, are kept."""
        seeds, pair = self._candidate_pair()
        for call in lots(self._plan.rows[1]):
            if self._layout.first_overwritten(self._block.bytes, call) is not None:
                raise wrote_beyond("The candidate wrote outside of its output.")
            self._kept.offer(seeds[call], self._layout.views(self._block.bytes, call)[1])
        return pair

    def _candidate_pair(self) -> tuple[list[int], tuple[float, float]]:
        for _ in range(_TRIES):
            seeds, key = self._new_values(0)
            with self._blamed() as timer:
                pair = timer.sample(key)
            if pair is not None:
                return seeds, pair
            self._retaken += 1
        raise self._late()

    def _reference_sample(self, rows: RowGraphs) -> tuple[float, float]:
        for _ in range(_TRIES):
            _, key = self._new_values(1)
            self._device.give_way()  # as the candidate's sample follows another process
            with no_garbage_collection():
                in_time = self._sampler.enqueue(rows, key)
            self._device.wait()
            if in_time:
                return self._sampler.elapsed()
            self._retaken += 1
        raise self._late()

    def _new_values(self, arm: int) -> tuple[list[int], tuple[int, int]]:
        """Draw values for all timed slots, and leave them encrypted; returns their seeds and the key."""
        self._samples[arm] += 1
        seeds = [self._seeds[arm](self._samples[arm], call) for call in range(self._plan.timed)]
        fill(self._layout, self._plain, self._workload, seeds)
        key = secrets.randbits(64), secrets.randbits(64)
        encrypted, plain = self._encrypted.bytes.data_ptr(), self._plain.data_ptr()
        self._kernels.encrypt(self._device.stream.cuda_stream, encrypted, plain, self._layout.nbytes, 0, key)
        self._device.synchronize()
        return seeds, key

    def _reference_rows(self) -> AbstractContextManager[RowGraphs]:
        values = self._workload.draw(self._seeds[1](0, 0))
        slots = [self._layout.views(self._block.bytes, slot) for slot in range(self._plan.slots)]
        return reference_rows(self._device, self._reference, self._plan, self._sampler, slots, values)

    @contextlib.contextmanager
    def _blamed(self) -> Iterator[TimerProcess]:
        """The timer's process; what faults in it during the race is the candidate's fault."""
        assert self._timer is not None, "it is ended after the race"
        try:
            yield self._timer
        except Faulted as fault:
            if not self._prepared:
                raise
            raise CandidateError(
                f"The candidate's kernels faulted in the process that times them: {fault}.",
                "Look for an index or a pointer that no bound checks; `compute-sanitizer` shows kernel and line.",
            ) from None

    def _late(self) -> TimingError:
        return TimingError(
            f"The host could not enqueue a row in time, {_TRIES} times.", "The machine is overloaded: free a CPU core."
        )
