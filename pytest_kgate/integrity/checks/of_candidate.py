"""The integrity checks of a candidate that would pass: some thirty calls of it, outside the timed rounds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import prepare
from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Workload
from pytest_kgate.integrity import roofline
from pytest_kgate.integrity.checks.findings import NAMED
from pytest_kgate.integrity.checks.findings import Findings
from pytest_kgate.integrity.launches.copies import is_a_copy
from pytest_kgate.integrity.launches.observed import observe
from pytest_kgate.integrity.side_effects import background
from pytest_kgate.integrity.side_effects import streams
from pytest_kgate.integrity.side_effects.memories import first_sight
from pytest_kgate.integrity.side_effects.memories import memoization
from pytest_kgate.integrity.side_effects.streams import Verify
from pytest_kgate.integrity.side_effects.wrong_values import why_wrong
from pytest_kgate.report.format import seconds

if TYPE_CHECKING:
    from pytest_kgate.problems.problem import Problem

_IN_PROCESS = ("stream", "memory", "host", "threads", "kernels")
"""Checks of the process in which the candidate runs."""

_ORDER_SEEDS = 1000
"""From this number on, the seeds of draws by which a candidate that is wrong is asked for its order."""


_FIRST_SIGHT_SEEDS = 2000
"""From this number on, the seeds of draws that are timed as they come and right after."""


class CandidateChecks:
    """What the candidate does in a call besides its answer: streams, memory, host work, threads, time, kernels."""

    def __init__(
        self, candidate: Arm, device: Device, problem: Problem, findings: Findings, *, own: bool, says: Sequence[str]
    ) -> None:
        """`own` and `says` as `IntegrityChecks` takes them; `findings` get what is found."""
        self._candidate = candidate
        self._device = device
        self._problem = problem
        self._findings = findings
        self._own = own
        self._says = says
        self.kernels: dict[str, int] | None = None
        """Names of what a call launches, or on the host of the operators it calls, with how often; None: not seen."""
        self.host_seconds: float | None = None
        """Of the host in one call, where the timer does not see it."""
        self.lower_bound: roofline.LowerBound | None = None

    def run(
        self,
        workload: Workload,
        seeds: Callable[[int], int],
        timer: str,
        cache: str,
        median: float,
        verify: Verify,
        doubt: str | None,
        threads: frozenset[int],
        systems_threads: frozenset[int],
    ) -> None:
        """Run all checks in their order.

        `median` is the candidate's net latency in seconds, `threads` are those of Python that lived before its first
        call, `systems_threads` the ids of all of the process; the others as `IntegrityChecks.observe` takes them.
        """
        self._check_stream(workload, seeds)
        self._check_memory(workload, seeds, verify, median, doubt)
        inputs = workload.draw(seeds(0))  # not earlier: those checks hold inputs of their own
        call = functools.partial(self._candidate.call, inputs, workload.output_for(self._candidate, inputs))
        prepare([self._candidate], [inputs])  # so that a call runs no forward pass, as no timed one did
        try:
            self._check_host(call, timer, median)
            self._check_threads(threads, systems_threads)
            self._check_lower_bound(cache, median)
            self._check_kernels(call, timer, inputs)
        finally:
            prepare([self._candidate], [])

    def run_isolated(self, cache: str, median: float) -> None:
        """Hold the time of an isolated candidate to the device's peaks: it needs nothing of the candidate's process.

        What the others look for is stopped otherwise, or happens where this process can't look.
        """
        self._findings.ran |= dict.fromkeys(_IN_PROCESS, "not run: the candidate has a process of its own")
        self._check_lower_bound(cache, median)

    def _check_stream(self, workload: Workload, seeds: Callable[[int], int]) -> None:
        self._findings.ran["stream"] = "passed"
        if isinstance(self._device, CudaContext):
            left = streams.works_elsewhere(self._device, self._candidate, workload, (seeds(1), seeds(2)))
        else:
            late = streams.finishes_late(self._candidate, workload, seeds(1))
            left = late or streams.leaves_gpu_busy(lambda: self._call_once(workload, seeds(0)))
        if left:
            self._findings.report("stream", f"the timer does not see the candidate's work: {left}.")

    def _call_once(self, workload: Workload, seed: int) -> None:
        inputs = workload.draw(seed)
        self._candidate.call(inputs, workload.output_for(self._candidate, inputs))

    def _check_memory(
        self, workload: Workload, seeds: Callable[[int], int], verify: Verify, median: float, doubt: str | None
    ) -> None:
        self._findings.ran["memory"] = "passed"
        calls, inputs, answer = memoization.time_calls(
            self._device, self._candidate, workload, lambda number: seeds(3 + number), median, doubted=bool(doubt)
        )
        wrong = verify(inputs, answer)
        if wrong:
            call = self._device, self._candidate, workload, lambda: inputs
            cause = why_wrong(wrong, *call, verify, lambda number: seeds(_ORDER_SEEDS + number))
            self._findings.report("stream" if cause.unseen else "memory", f"{cause.reason}.")
        found = list(calls.findings(on_host=self._device.kind == "host"))
        if not found and not wrong and self._device.kind == "host":
            arm, first = self._candidate, _FIRST_SIGHT_SEEDS
            left_out = first_sight.left_out(self._device, arm, workload, lambda number: seeds(first + number))
            found = [left_out] if left_out else []
        for reason in found:
            self._findings.report("memory", reason)
        if doubt and calls.slow_on_new(calls.same):
            self._findings.report("memory", doubt)

    def _check_host(self, call: Callable[[], Any], timer: str, median: float) -> None:
        if self._device.kind != "cuda" or timer == "eager":
            self._findings.ran["host"] = "not run: the timer sees the host's work"
            return
        self._findings.ran["host"] = "passed"
        cost = background.HostCost(background.host_seconds(self._device, call), median, timer)
        self.host_seconds = cost.host_seconds
        if cost.finding:
            self._findings.report("host", cost.finding)
        elif cost.warning:
            self._findings.warnings.append(cost.warning)

    def _check_threads(self, threads: frozenset[int], systems_threads: frozenset[int]) -> None:
        self._findings.ran["threads"] = "passed"
        busy = background.busy_while_idle(systems_threads)
        if busy:
            self._findings.report("threads", f"something goes on behind the candidate's calls: {busy}.")
        left = background.new_threads(threads)
        if left:
            self._findings.warnings.append(f"threads that the candidate started still live: {', '.join(left[:NAMED])}")

    def _check_lower_bound(self, cache: str, median: float) -> None:
        self.lower_bound = bound = roofline.lower_bound(self._problem, roofline.peaks_of(self._device), cache)
        if bound is None:
            self._findings.ran["floor"] = "not run: the device's peaks or the problem's work are not known"
            return
        self._findings.ran["floor"] = "passed"
        if median < bound.seconds:
            self._findings.report(
                "floor",
                f"a call takes {seconds(median)}, and the device can't do the problem's {bound.demand} in less "
                f"than {seconds(bound.seconds)}: the work was not done, or the problem states too much.",
            )

    def _check_kernels(self, call: Callable[[], Any], timer: str, inputs: tuple[Any, ...]) -> None:
        if self._device.kind == "host" and not self._own:
            self._findings.ran["kernels"] = "not run: the candidate may call what it likes"
            return
        seen = observe(self._device, call, graph=timer == "graph")
        if isinstance(seen, str):
            self._findings.ran["kernels"] = f"not run: {seen}"
            return
        self._findings.ran["kernels"] = "passed"
        self.kernels = dict(seen.first)
        if self._device.kind == "cuda" and not seen.works and not is_a_copy(self._device, self._problem, call, inputs):
            self._findings.report("kernels", "the candidate launched no kernel.")
        elif seen.missing_in_graph:
            self._findings.report("kernels", f"the candidate works less where it is captured: {seen.missing_in_graph}.")
        borrowed = seen.library(self._says) if self._own else None
        if borrowed:
            self._findings.report(
                "kernels", f"the candidate is no kernel of its own: it runs {borrowed[0]} of {borrowed[1]}."
            )
        if seen.differ:
            self._findings.warnings.append(f"only one of two like calls launched {', '.join(seen.differ[:NAMED])}")
