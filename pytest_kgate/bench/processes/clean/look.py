"""Once a gate would pass: what a clean process says of it, which runs nothing of the candidate."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import astuple
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.bench.processes.clean import settings
from pytest_kgate.bench.processes.clean.answers import KeptAnswer
from pytest_kgate.bench.processes.clean.answers import KeptAnswers
from pytest_kgate.bench.processes.clean.answers import message_file
from pytest_kgate.bench.processes.clean.answers import sealed
from pytest_kgate.bench.processes.clean.problem.candidate_files import files_of
from pytest_kgate.bench.processes.clean.problem.recipe import NeedsCandidate
from pytest_kgate.bench.processes.clean.problem.recipe import NotRebuilt
from pytest_kgate.bench.processes.clean.problem.recipe import is_own
from pytest_kgate.bench.processes.clean.problem.recipe import recipe_of
from pytest_kgate.bench.processes.clean.process import CleanProcess
from pytest_kgate.bench.processes.clean.process import CleanProcessLost
from pytest_kgate.bench.processes.clean.timing import free_cached_memory
from pytest_kgate.bench.processes.clean.timing import timed
from pytest_kgate.device.cuda.context import is_real
from pytest_kgate.problems.trees.fingerprint import Fingerprint
from pytest_kgate.system.clocks.spent import spent

if TYPE_CHECKING:
    from pytest_kgate.bench.record.builder import RecordBuilder
    from pytest_kgate.bench.request import Request
    from pytest_kgate.device.arm import Arm
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.integrity.checks.of_call import IntegrityChecks
    from pytest_kgate.report.record.facts.integrity import CleanFacts


class CleanRoom:
    """The clean processes of a session, each started when the first gate needs it.

    One for each device, and one more for gates whose problem needs the module of the candidate: that one imports it.
    """

    def __init__(self) -> None:
        self._processes: dict[tuple[str, bool], CleanProcess] = {}
        self._none: dict[str, str] = {}

    def process(self, device: Device, timeout_seconds: float, *, imports_candidates: bool) -> CleanProcess:
        """The clean process of this device; raises as `CleanProcess` does, `NotRebuilt` where there can't be one."""
        name = device.torch_device
        if name in self._none:
            raise NotRebuilt(self._none[name])
        if (name, imports_candidates) not in self._processes:
            try:
                started = CleanProcess(device, timeout_seconds, imports_candidates=imports_candidates)
            except NotRebuilt as clause:
                self._none[name] = str(clause)
                raise
            self._processes[name, imports_candidates] = started
        return self._processes[name, imports_candidates]

    def lose(self, device: Device, how: str) -> None:
        """Remember that the process of this device was lost; no other is started."""
        self._none[device.torch_device] = f"the clean process was lost before: {how}"

    def begin_anew(self, device: Device) -> None:
        """End those of this device; the next gate, or the next try, starts others."""
        for key in [key for key in self._processes if key[0] == device.torch_device]:
            self._processes.pop(key).close()

    def close(self) -> None:
        """End all clean processes."""
        for one in self._processes.values():
            one.close()
        self._processes.clear()


class CleanLook:
    """Keeps some answers of one call, and has them compared in the clean process once all else would pass."""

    def __init__(self, room: CleanRoom, request: Request, device: Device) -> None:
        self.kept = KeptAnswers()
        self._room = room
        self._request = request
        self._device = device

    def run(self, builder: RecordBuilder, when_stuck: Callable[[str], None]) -> None:
        """Look at a gate if it would pass, and add what was found to the record."""
        checks = builder.integrity
        assert checks is not None
        if not builder.may_pass or checks.findings.all:
            return
        with spent("clean"):
            try:
                self._look(builder, checks, when_stuck)
            finally:
                checks.phase_over()

    def _look(self, builder: RecordBuilder, checks: IntegrityChecks, when_stuck: Callable[[str], None]) -> None:
        start = time.perf_counter()
        facts: CleanFacts = {"done": True}
        wrong: str | None = None
        try:
            try:
                wrong = self._looked(builder, facts, when_stuck)
            except CleanProcessLost as how:
                if not how.by_others:
                    raise
                self._room.begin_anew(self._device)
                facts = {"done": True}
                wrong = self._looked(builder, facts, when_stuck)
        except NotRebuilt as clause:
            facts = {"done": False, "why": str(clause)}
        except CleanProcessLost as how:
            facts = {"done": False, "why": f"the clean process was lost: {how}"}
            if how.by_others:
                self._room.begin_anew(self._device)
                wrong = (
                    f"the clean process, which looks at gates that would pass, was lost twice: {how}. Look for what "
                    "sends signals to other processes; --kgate-clean off leaves it out."
                )
            else:
                self._room.lose(self._device, str(how))
                checks.findings.warnings.append(
                    f"the clean process, which looks at gates that would pass, was lost: {how}; this gate and those "
                    "after it rest on what the tests' own process says"
                )
        except OSError as error:  # no descriptors are left, no folder for temporary files, or one of ours was closed
            facts = {"done": False, "why": f"the clean process can't be had: {error}"}
            wrong = (
                f"the clean process, which looks at gates that would pass, can't be had: {error}. Look for limits, "
                "descriptors and folders that were changed; --kgate-clean off leaves it out."
            )
        facts["seconds_spent"] = time.perf_counter() - start
        checks.clean = facts
        if wrong is not None:
            checks.findings.report("clean", wrong)

    def _looked(self, builder: RecordBuilder, facts: CleanFacts, when_stuck: Callable[[str], None]) -> str | None:
        """What is wrong, as one sentence; fills in `facts`."""
        try:
            return self._looked_from(builder, facts, when_stuck, files_of(self._request.candidate))
        except NeedsCandidate:
            if self._device.kind != "host":
                raise
            facts["imports_candidate"] = True
            return self._looked_from(builder, facts, when_stuck, frozenset())

    def _looked_from(
        self, builder: RecordBuilder, facts: CleanFacts, when_stuck: Callable[[str], None], files: frozenset[str]
    ) -> str | None:
        """The same from a process that does not import these files."""
        request, reference = self._request, builder.reference
        assert reference is not None
        recipe = recipe_of(request.problem, reference.backend, files)
        with contextlib.ExitStack() as stack:
            answers = list(self.kept)
            if not is_own(recipe):
                own = self._reference_answer(builder, reference.arm, answers[0].facts)
                stack.callback(os.close, own.fd)
                answers.insert(0, own)
            told = {
                "recipe": recipe,
                "candidate_files": sorted(files),
                "gate": None if request.error is None else astuple(request.error),
                "settings": settings.read(),
                "answers": [one.facts for one in answers],
            }
            message = message_file(_text(told))
            stack.callback(os.close, message)
            free_cached_memory(self._device)
            imports = facts.get("imports_candidate", False)
            process = self._room.process(self._device, request.settings.timeout, imports_candidates=imports)
            stack.callback(process.over)
            process.ask({"do": "problem"}, message)
            facts["answers"] = len(list(self.kept))
            for number, one in enumerate(answers):
                clause = process.ask({"do": "compare", "answer": number}, one.fd).get("wrong")
                if clause:
                    return (
                        f"what passed here does not in a clean process, {process.difference}: {clause}. Look for "
                        "functions that are replaced in this one."
                    )
            return timed(process, builder, self._device, facts, when_stuck) if request.speed else None

    def _reference_answer(self, builder: RecordBuilder, reference: Arm, facts: Mapping[str, Any]) -> KeptAnswer:
        """What the reference answers in this process to the inputs of a kept answer."""
        assert builder.correctness is not None
        hard = facts["kind"] == "hard"
        workload = workload_of(self._request.problem, self._device, builder.correctness.like, hard=hard)
        with self._device.running("running the reference"):
            inputs = workload.draw(facts["seed"])
            before = Fingerprint(inputs)
            answer = reference.call(inputs, workload.output_for(reference, inputs))
            self._device.synchronize()
            return sealed(facts["kind"], facts["seed"], before, answer, whose="reference")


@contextlib.contextmanager
def clean_look(room: CleanRoom | None, request: Request, device: Device) -> Iterator[CleanLook | None]:
    """The look of a call that has a gate to pass; None where it has none, or is not to be looked at so."""
    chosen = request.settings
    asked = chosen.clean == "on" or (chosen.clean == "auto" and device.kind == "host")
    off = not asked or chosen.integrity == "off" or chosen.isolate or chosen.selftest
    measures = not (request.times or request.error) or request.process is not None or request.in_processes
    measures = measures or chosen.rounds is not None
    if off or measures or room is None or sys.platform != "linux" or not is_real(device):
        yield None
        return
    look = CleanLook(room, request, device)
    try:
        yield look
    finally:
        look.kept.close()


def _text(told: dict[str, Any]) -> str:
    try:
        return json.dumps(told)
    except (TypeError, ValueError):
        raise NotRebuilt("the problem goes by what is no plain value") from None
