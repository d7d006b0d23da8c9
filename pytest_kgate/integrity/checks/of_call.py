"""The integrity checks of one `kbench` call: what is looked at when, and what becomes of it in the record."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.cuda.context import is_real
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import TimingError
from pytest_kgate.integrity.checks.findings import CHECKS
from pytest_kgate.integrity.checks.findings import NAMED
from pytest_kgate.integrity.checks.findings import Findings
from pytest_kgate.integrity.checks.of_candidate import CandidateChecks
from pytest_kgate.integrity.global_state.state import GlobalState
from pytest_kgate.integrity.guard_zones import GuardZones
from pytest_kgate.integrity.side_effects import background
from pytest_kgate.integrity.side_effects.streams import Verify
from pytest_kgate.integrity.tampering.basis import Basis
from pytest_kgate.integrity.tampering.basis import Objects
from pytest_kgate.integrity.tampering.held.held import Held
from pytest_kgate.integrity.tampering.monkeypatches import MONKEYPATCHES
from pytest_kgate.system import procfs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_kgate.problems.problem import Problem
    from pytest_kgate.report.record.facts.integrity import CleanFacts
    from pytest_kgate.report.record.facts.integrity import IntegrityFacts


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
        self._held = Held(problem) if on and not isolated else None
        self._checked = False
        self.objects = Objects()
        self._candidate = candidate
        self._device = device
        self._problem = problem
        self._on = on
        self._isolated = isolated
        self._state: GlobalState | None = None
        self._threads: frozenset[int] = frozenset()
        self._systems_threads: frozenset[int] = frozenset()
        self._told: set[str] = set()
        """Names of what was replaced, as findings tell them."""
        self._spent = 0.0
        self.findings = Findings()
        self.of_candidate = CandidateChecks(candidate, device, problem, self.findings, own=own, says=says)
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
                self.findings.report("state", self._state.slow_before)
            self._demand_clocks(self._check_monkeypatches("before the candidate was called, "))
            self.findings.ran["zones"] = "passed"  # an overwritten zone raises
            zones = GuardZones(self._device)
            problem, guarded = zones.problem(self._problem), zones.arm(self._candidate)
            if self._held is not None:
                problem = replace(problem, exact=self._held.beside(problem.exact))
                guarded = replace(guarded, call=self._held.around(guarded.call))
            return problem, guarded

    def phase_over(self, *, slow: bool = False) -> None:
        """After the check, the race and `observe`: report what the candidate has changed, and put it back.

        `slow`: whether to compare settings that take milliseconds to read as well.
        """
        if not self._on:
            return
        with self._timed():
            self._check_monkeypatches()
            self._check_held()
            self.findings.ran.setdefault("state", "passed")
            if self._state is None:
                return
            for change in self._state.restore(slow=slow):
                self.findings.report("state", f"the candidate left something changed: {change}.")
            for change in self._state.restore_harmless():
                self.findings.warn(f"the candidate left something changed that no measurement depends on: {change}")

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
                self.of_candidate.run_isolated(cache, median)
                return
            threads = self._threads, self._systems_threads
            self.of_candidate.run(workload, seeds, timer, cache, median, verify, doubt, *threads)

    def to_dict(self) -> IntegrityFacts:
        """Built-in types, for the record."""
        facts: IntegrityFacts = {
            "checks": {name: self.findings.ran.get(name, "not run") for name in CHECKS} if self._on else {},
            "findings": [{"check": one.check, "reason": one.reason} for one in self.findings.all],
            "kernels": self.of_candidate.kernels,
            "host_seconds": self.of_candidate.host_seconds,
            "floor_seconds": self.of_candidate.lower_bound.seconds if self.of_candidate.lower_bound else None,
            "seconds_spent": self._spent,
        }
        if self.clean is not None:
            facts["clean"] = self.clean
        return facts

    def _check_monkeypatches(self, when: str = "") -> list[str]:
        """Report what was replaced, and not yet told; returns all names of it."""
        self.findings.ran.setdefault(
            "originals", "passed" if MONKEYPATCHES.follows_imports else "not run: the plugin is not loaded"
        )
        changed = [*MONKEYPATCHES.changed(), *MONKEYPATCHES.replaced_modules()]
        changed += [*self._basis.changed(), *self.objects.changed()]
        named = self._new(changed)
        if named:
            self.findings.report("originals", f"{when}what the gate measures or judges with was replaced: {named}.")
        return changed

    def _check_held(self) -> None:
        """Report what the problem's functions hold and the candidate has changed.

        Ahead of the first look, that of the check, the problem's own functions ran since the candidate's last call.
        """
        if self._held is None:
            return
        if self._checked:
            self._held.candidate_ran()
        else:
            self._held.others_ran()
        self._checked = True
        named = self._new([f"the problem's {name}" for name in self._held.changed()])
        if named:
            self.findings.report("originals", f"the candidate changed what the problem goes by: {named}.")

    def _new(self, changed: Sequence[str]) -> str:
        """The first of what was not yet told, which it is now."""
        new = [name for name in changed if name not in self._told]
        self._told.update(new)
        return f"{', '.join(new[:NAMED])}{f' and {len(new) - NAMED} more' if len(new) > NAMED else ''}"

    @staticmethod
    def _demand_clocks(replaced: Sequence[str]) -> None:
        clocks = [name for name in replaced if name.startswith("time.")]
        if clocks:
            were = f"{', '.join(clocks)} {'was' if len(clocks) == 1 else 'were'} replaced"
            raise TimingError(
                f"Nothing can be timed: {were} before the candidate was called.",
                "Call kbench outside of what freezes or replaces clocks, such as freezegun or monkeypatch.",
            )

    @contextmanager
    def _timed(self) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._spent += time.perf_counter() - start
