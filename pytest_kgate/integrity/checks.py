"""The integrity checks of one `kbench` call: what is looked at when, and what becomes of it in the record."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import prepare
from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.device.cuda.context import is_real
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Workload
from pytest_kgate.integrity import roofline
from pytest_kgate.integrity.global_state.state import GlobalState
from pytest_kgate.integrity.guard_zones import GuardZones
from pytest_kgate.integrity.launches.copies import is_a_copy
from pytest_kgate.integrity.launches.observed import observe
from pytest_kgate.integrity.side_effects import background
from pytest_kgate.integrity.side_effects import memoization
from pytest_kgate.integrity.side_effects import streams
from pytest_kgate.integrity.side_effects.streams import Verify
from pytest_kgate.integrity.side_effects.wrong_values import why_wrong
from pytest_kgate.integrity.tampering.basis import Basis
from pytest_kgate.integrity.tampering.basis import Objects
from pytest_kgate.integrity.tampering.monkeypatches import MONKEYPATCHES
from pytest_kgate.report.format import seconds
from pytest_kgate.system import procfs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_kgate.problems.problem import Problem
    from pytest_kgate.report.record.facts.integrity import CleanFacts
    from pytest_kgate.report.record.facts.integrity import IntegrityFacts

CHECKS = ("originals", "state", "zones", "stream", "memory", "host", "threads", "floor", "kernels")
"""Names in the record, in the order in which they first run; docs/integrity.md says what each looks at."""

_IN_PROCESS = ("stream", "memory", "host", "threads", "kernels")
"""Checks of the process in which the candidate runs."""

_ORDER_SEEDS = 1000
"""From this number on, the seeds of draws by which a candidate that is wrong is asked for its order."""

_NAMED = 6
"""How many names a sentence lists at most."""


@dataclass(frozen=True)
class Finding:
    """One reason why a gate's measurements are INVALID."""

    check: str
    """One of `CHECKS`, or `clean` for what a clean process says."""
    reason: str
    """A sentence for the verdict."""


class IntegrityChecks:
    """The checks of one call: of the process before and after each phase, and of the candidate once it would pass."""

    def __init__(
        self,
        candidate: Arm,
        device: Device,
        problem: Problem,
        *,
        on: bool,
        own: bool,
        says: Sequence[str],
        gates: object = (),
        isolated: bool = False,
    ) -> None:
        """Nothing is checked unless `on`.

        `own`: whether the candidate claims to be a kernel of its own, which calls no library. `says`: its name and the
        libraries that its source declares, whose kernels it may launch all the same. `gates` are what is demanded.
        `isolated`: whether it runs in a process of its own.
        """
        self._basis = Basis(problem, gates)
        self.objects = Objects()
        self._candidate = candidate
        self._device = device
        self._problem = problem
        self._on = on
        self._own = own
        self._says = says
        self._isolated = isolated
        self._state: GlobalState | None = None
        self._threads: frozenset[int] = frozenset()
        self._systems_threads: frozenset[int] = frozenset()
        self._ran: dict[str, str] = {}
        self._spent = 0.0
        self.findings: list[Finding] = []
        self.warnings: list[str] = []
        self.kernels: dict[str, int] | None = None
        self.host_seconds: float | None = None
        self.lower_bound: roofline.LowerBound | None = None
        self.clean: CleanFacts | None = None

    def begin(self) -> tuple[Problem, Arm]:
        """Before the candidate's first call: read settings, return problem and candidate with guard zones."""
        if not self._on:
            return self._problem, self._candidate
        with self._timed():
            self._threads = background.python_threads()
            self._systems_threads = frozenset(procfs.thread_ids())
            self._state = GlobalState(self._device)
            if self._state.slow_before is not None:
                self.report("state", self._state.slow_before)
            self._check_monkeypatches()
            self._ran["zones"] = "passed"  # an overwritten zone raises
            zones = GuardZones(self._device)
            return zones.problem(self._problem), zones.arm(self._candidate)

    def phase_over(self, *, slow: bool = False) -> None:
        """After the check, the race and `observe`: report what the candidate has changed, and put it back.

        `slow`: whether to compare settings that take milliseconds to read as well.
        """
        if not self._on:
            return
        with self._timed():
            self._check_monkeypatches()
            self._ran.setdefault("state", "passed")
            if self._state is None:
                return
            for change in self._state.restore(slow=slow):
                self.report("state", f"the candidate left something changed: {change}.")
            for change in self._state.restore_harmless():
                self._warn(f"the candidate left something changed that no measurement depends on: {change}")

    def observe(
        self,
        workload: Workload,
        seeds: Callable[[int], int],
        timer: str,
        cache: str,
        seconds: NDArray[np.float64],
        verify: Verify,
        doubt: str | None = None,
    ) -> None:
        """Check a candidate that would pass, by some thirty calls of it outside the timed rounds.

        `seeds` tells the seed of each draw; `timer` and `cache` are those of the race; `seconds` are the candidate's
        net samples; `verify` compares an answer with the exact one. `doubt` says why the gate would not pass on new
        values, if the race left that open.
        """
        if not self._on or self._device.kind == "fake" or not is_real(self._device):
            return
        with self._timed(), self._device.running("watching the candidate"):
            median = float(np.median(seconds))
            if self._isolated:
                # What the others look for is stopped otherwise, or happens where this process can't look.
                self._ran |= dict.fromkeys(_IN_PROCESS, "not run: the candidate has a process of its own")
                self._check_lower_bound(cache, median)
                return
            self._check_stream(workload, seeds)
            self._check_memory(workload, seeds, verify, median, doubt)
            inputs = workload.draw(seeds(0))  # not earlier: those checks hold inputs of their own
            call = functools.partial(self._candidate.call, inputs, workload.output_for(self._candidate, inputs))
            prepare([self._candidate], [inputs])  # so that a call runs no forward pass, as no timed one did
            try:
                self._check_host(call, timer, median)
                self._check_threads()
                self._check_lower_bound(cache, median)
                self._check_kernels(call, timer, inputs)
            finally:
                prepare([self._candidate], [])

    def reason(self) -> str | None:
        """The first finding as a sentence, for the verdict; None where nothing was found."""
        return self.findings[0].reason if self.findings else None

    def to_dict(self) -> IntegrityFacts:
        """Built-in types, for the record."""
        facts: IntegrityFacts = {
            "checks": {name: self._ran.get(name, "not run") for name in CHECKS} if self._on else {},
            "findings": [{"check": one.check, "reason": one.reason} for one in self.findings],
            "kernels": self.kernels,
            "host_seconds": self.host_seconds,
            "floor_seconds": self.lower_bound.seconds if self.lower_bound else None,
            "seconds_spent": self._spent,
        }
        if self.clean is not None:
            facts["clean"] = self.clean
        return facts

    def _check_monkeypatches(self) -> None:
        self._ran.setdefault(
            "originals", "passed" if MONKEYPATCHES.follows_imports else "not run: the plugin is not loaded"
        )
        changed = [*MONKEYPATCHES.changed(), *MONKEYPATCHES.replaced_modules()]
        changed += [*self._basis.changed(), *self.objects.changed()]
        if changed:
            more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
            self.report(
                "originals", f"what the gate measures or judges with was replaced: {', '.join(changed[:_NAMED])}{more}."
            )

    def _check_stream(self, workload: Workload, seeds: Callable[[int], int]) -> None:
        self._ran["stream"] = "passed"
        if isinstance(self._device, CudaContext):
            left = streams.works_elsewhere(self._device, self._candidate, workload, (seeds(1), seeds(2)))
        else:
            late = streams.finishes_late(self._candidate, workload, seeds(1))
            left = late or streams.leaves_gpu_busy(lambda: self._call_once(workload, seeds(0)))
        if left:
            self.report("stream", f"the timer does not see the candidate's work: {left}.")

    def _call_once(self, workload: Workload, seed: int) -> None:
        inputs = workload.draw(seed)
        self._candidate.call(inputs, workload.output_for(self._candidate, inputs))

    def _check_memory(
        self, workload: Workload, seeds: Callable[[int], int], verify: Verify, median: float, doubt: str | None
    ) -> None:
        self._ran["memory"] = "passed"
        calls, inputs, answer = memoization.time_calls(
            self._device, self._candidate, workload, lambda number: seeds(3 + number), median, doubted=bool(doubt)
        )
        wrong = verify(inputs, answer)
        if wrong:
            call = self._device, self._candidate, workload, lambda: inputs
            cause = why_wrong(wrong, *call, verify, lambda number: seeds(_ORDER_SEEDS + number))
            self.report("stream" if cause.unseen else "memory", f"{cause.reason}.")
        for reason in calls.findings(on_host=self._device.kind == "host"):
            self.report("memory", reason)
        if doubt and calls.slow_on_new(calls.same):
            self.report("memory", doubt)

    def _check_host(self, call: Callable[[], Any], timer: str, median: float) -> None:
        if self._device.kind != "cuda" or timer == "eager":
            self._ran["host"] = "not run: the timer sees the host's work"
            return
        self._ran["host"] = "passed"
        cost = background.HostCost(background.host_seconds(self._device, call), median, timer)
        self.host_seconds = cost.host_seconds
        if cost.finding:
            self.report("host", cost.finding)
        elif cost.warning:
            self.warnings.append(cost.warning)

    def _check_threads(self) -> None:
        self._ran["threads"] = "passed"
        busy = background.busy_while_idle(self._systems_threads)
        if busy:
            self.report("threads", f"something goes on behind the candidate's calls: {busy}.")
        left = background.new_threads(self._threads)
        if left:
            self.warnings.append(f"threads that the candidate started still live: {', '.join(left[:_NAMED])}")

    def _check_lower_bound(self, cache: str, median: float) -> None:
        self.lower_bound = bound = roofline.lower_bound(self._problem, roofline.peaks_of(self._device), cache)
        if bound is None:
            self._ran["floor"] = "not run: the device's peaks or the problem's work are not known"
            return
        self._ran["floor"] = "passed"
        if median < bound.seconds:
            self.report(
                "floor",
                f"a call takes {seconds(median)}, and the device can't do the problem's {bound.demand} in less "
                f"than {seconds(bound.seconds)}: the work was not done, or the problem states too much.",
            )

    def _check_kernels(self, call: Callable[[], Any], timer: str, inputs: tuple[Any, ...]) -> None:
        if self._device.kind == "host" and not self._own:
            self._ran["kernels"] = "not run: the candidate may call what it likes"
            return
        seen = observe(self._device, call, graph=timer == "graph")
        if isinstance(seen, str):
            self._ran["kernels"] = f"not run: {seen}"
            return
        self._ran["kernels"] = "passed"
        self.kernels = dict(seen.first)
        if self._device.kind == "cuda" and not seen.works and not is_a_copy(self._device, self._problem, call, inputs):
            self.report("kernels", "the candidate launched no kernel.")
        elif seen.missing_in_graph:
            self.report("kernels", f"the candidate works less where it is captured: {seen.missing_in_graph}.")
        borrowed = seen.library(self._says) if self._own else None
        if borrowed:
            self.report("kernels", f"the candidate is no kernel of its own: it runs {borrowed[0]} of {borrowed[1]}.")
        if seen.differ:
            self.warnings.append(f"only one of two like calls launched {', '.join(seen.differ[:_NAMED])}")

    def _warn(self, warning: str) -> None:
        if warning not in self.warnings:  # a candidate may do it in each phase
            self.warnings.append(warning)

    def report(self, check: str, reason: str) -> None:
        """Take in what a check has found: one of `CHECKS`, and a sentence."""
        self._ran[check] = "found"
        if not any(one.reason == reason for one in self.findings):
            self.findings.append(Finding(check, reason))

    @contextmanager
    def _timed(self) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._spent += time.perf_counter() - start
