"""The isolated candidate of one `kbench` call: an arm for the check, a stopwatch for the race, and checks after it."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import InPlace
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import UsageError
from pytest_kgate.errors import changed_input
from pytest_kgate.errors import wrote_beyond
from pytest_kgate.integrity.isolation.candidate_name import CandidateFunction
from pytest_kgate.integrity.isolation.candidate_name import CandidateSource
from pytest_kgate.integrity.isolation.candidate_name import Told
from pytest_kgate.integrity.isolation.captured.launches import NotRelaunchable
from pytest_kgate.integrity.isolation.kept_answers import with_numbers_kept
from pytest_kgate.integrity.isolation.process.confinement.confinement import Confinement
from pytest_kgate.integrity.isolation.process.parent import CandidateProcess
from pytest_kgate.integrity.isolation.process.parent import jsonable
from pytest_kgate.integrity.isolation.shared_memory.host import make_block
from pytest_kgate.integrity.isolation.shared_memory.layout import Layout
from pytest_kgate.integrity.isolation.stopwatch import IsolatedStopwatch
from pytest_kgate.integrity.isolation.stopwatch import Seeds
from pytest_kgate.integrity.side_effects.wrong_values import why_wrong
from pytest_kgate.problems.trees import tree
from pytest_kgate.statistics.estimates import slowed_by
from pytest_kgate.system.clocks.spent import spent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_kgate.integrity.isolation.relaunch.stopwatch import RelaunchStopwatch
    from pytest_kgate.integrity.side_effects.streams import Verify
    from pytest_kgate.report.record.facts.integrity import IsolationFacts
    from pytest_kgate.statistics.gates import Judgement

_FEWEST_VERIFIED = 16
"""How many answers are verified at least; more are only within the race's budget of seconds."""

_ALONE_ROUNDS = 6
_ALONE_SAMPLES = 4
_ALONE_AGAIN = 3
"""Rounds and samples of the reference when it is timed alone, after the race; and how many times as many more where a
gate would not be met."""


class Isolation:
    """The isolated candidate of one call; its process starts at the candidate's first call. Use as a context."""

    def __init__(
        self,
        candidate: object,
        params: Mapping[str, Any],
        values: Seeds,
        reference_values: Seeds,
        budget_seconds: float,
        device: Device,
        timer: str,
        mutates: tuple[int, ...] = (),
    ) -> None:
        """`params` and `mutates` are the problem's, which the candidate's process gets.

        `values` and `reference_values` tell the seeds of the candidate's and of the reference's timed rows.

        `budget_seconds` limits how long answers are verified. With the timer `wall` the candidate's own process makes
        the timed calls even where another could. Raises `UsageError` where the candidate is no name, where
        params are no plain values, and where this machine or device can't isolate.
        """
        if not isinstance(candidate, (CandidateFunction, CandidateSource)):
            raise UsageError(
                "--kgate-isolate needs the candidate by name: what is imported here has run here.",
                'Write kbench("path/to/file.py:function", problem), or kbench(kernels("file.cu"), problem).',
            )
        if sys.platform != "linux":
            raise UsageError("Candidates are isolated by means of Linux.", "Leave --kgate-isolate out.")
        if device.kind not in ("host", "cuda"):
            raise UsageError(f"A candidate can't be isolated on a {device.kind} device.", "Leave --kgate-isolate out.")
        self._ignored_params: list[str] = []
        self.arm = Arm("candidate", self._call, takes_output=True, ignored_params=self._ignored_params)
        self.told = Told()
        """What its process says of it, once it was called."""
        self._candidate = candidate
        self._params = jsonable(dict(params))
        self._mutates = mutates
        self._budget_seconds = budget_seconds
        self._values = values
        self._reference_values = reference_values
        self._device = device
        self._process: CandidateProcess | None = None
        self._layout: Layout | None = None
        self._timer = timer
        self._not_relaunched: str | None = None
        self._stopwatch: IsolatedStopwatch | RelaunchStopwatch | None = None
        self._confined: Confinement | None = None
        self._left_changed: list[str] = []
        self._verified: list[int] = []
        self._slowed: float | None = None

    def __enter__(self) -> Isolation:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.close()
            self._left_changed += self._process.left_changed
            self._process = None

    def stopwatch(self, reference: Arm, workload: Workload, verify: Verify) -> IsolatedStopwatch | RelaunchStopwatch:
        """The stopwatch of the race; both arms' inputs are drawn from `workload`, `verify` says what is wrong."""
        self._layout = None  # the stopwatch prepares a row of its own
        workload = with_numbers_kept(workload, self._device)
        self._stopwatch = self._relaunched(reference, workload, verify) or IsolatedStopwatch(
            self._device, self._running(), reference, workload, self._values, self._reference_values
        )
        return self._stopwatch

    def _relaunched(self, reference: Arm, workload: Workload, verify: Verify) -> RelaunchStopwatch | None:
        """The stopwatch that needs no process of the candidate; None where there is none for this candidate."""
        if self._device.kind != "cuda" or self._timer == "wall":
            return None
        # Here, since they need the CUDA driver.
        from pytest_kgate.device.cuda.device import CudaDevice
        from pytest_kgate.integrity.isolation.relaunch.open import relaunch_stopwatch

        assert isinstance(self._device, CudaDevice)
        process = self._running()
        seeds = (self._values, self._reference_values)
        try:
            stopwatch = relaunch_stopwatch(self._device, process, reference, workload, *seeds, verify)
        except NotRelaunchable as clause:
            self._not_relaunched = str(clause)
            if process.closed:
                self.__exit__()  # another is started for the candidate's own rows
            return None
        self.__exit__()
        return stopwatch

    def undone(self, workload: Workload, verify: Verify) -> str | None:
        """Why the timed calls may not have done the work; None where all answers that were kept are right."""
        assert self._stopwatch is not None
        start = time.perf_counter()
        workload = with_numbers_kept(workload, self._device)  # as the stopwatch's
        for seed, answer in self._stopwatch.kept:
            if len(self._verified) >= _FEWEST_VERIFIED and time.perf_counter() - start > self._budget_seconds:
                break
            with self._device.running("verifying a timed launch"):
                inputs = workload.draw(seed)
                reason = verify(inputs, tree.mapped(answer, lambda one: one.to(self._device.torch_device)))
            if reason is not None:
                again = functools.partial(workload.draw, seed)
                return why_wrong(reason, self._device, self.arm, workload, again, verify, None).reason
            self._verified.append(seed)
        return None

    def disturbed(self, reference_seconds: NDArray[np.float64], judgements: Sequence[Judgement]) -> str | None:
        """Whether a gate was met only because the candidate's process slowed the reference down; None, or one clause.

        `reference_seconds` are the reference's samples of the race, (rounds, samples). Ends the candidate's process,
        and times the reference alone; where a gate is not met so, for longer: the machine may have been busy.
        """
        assert self._stopwatch is not None
        self.__exit__()
        if self.invalid is not None:
            return self.invalid
        alone = self._stopwatch.reference_alone(_ALONE_ROUNDS, _ALONE_SAMPLES)
        found = self._unproven(reference_seconds, alone, judgements)
        if found is not None:
            more = self._stopwatch.reference_alone(_ALONE_AGAIN * _ALONE_ROUNDS, _ALONE_SAMPLES)
            found = self._unproven(reference_seconds, np.concatenate((alone, more)), judgements)
        return found

    def _unproven(
        self, reference_seconds: NDArray[np.float64], alone: NDArray[np.float64], judgements: Sequence[Judgement]
    ) -> str | None:
        self._slowed = slowed_by(reference_seconds, alone)
        for judgement in judgements:
            ratio, gate = judgement.ratio, judgement.gate
            slowed = max(self._slowed, slowed_by(reference_seconds, alone, gate.quantile))
            if ratio is not None and ratio.high * slowed >= gate.bound:
                self._slowed = slowed
                return (
                    f"while the candidate's process lived, the reference took {slowed:.4f} times as long as "
                    f"alone: against the reference alone, a ratio below {gate.bound:g} is not shown"
                )
        return None

    @property
    def warnings(self) -> list[str]:
        """Sentences for the record."""
        found = self._confined.missing() if self._confined else []
        if self._not_relaunched is not None:
            found.append(f"isolated: the candidate's own process launched the timed calls: {self._not_relaunched}")
        return [*found, self.invalid] if self.invalid else found

    @property
    def invalid(self) -> str | None:
        """What the candidate has changed in the judging process from outside, as one sentence; None where nothing.

        It is known once the candidate's process has ended.
        """
        if not self._left_changed:
            return None
        return f"the judging process was changed from outside: {', '.join(self._left_changed)}."

    def to_dict(self) -> IsolationFacts:
        """Built-in types, for the record."""
        return {
            "confined": self._confined.to_dict() if self._confined else None,
            "launched_by": self._stopwatch.launched_by if self._stopwatch else None,
            "calls_in_a_row": self._stopwatch.calls if self._stopwatch else None,
            "verified": len(self._verified),
            "lots": self._verified,
            "reference_slowed": self._slowed,
        }

    def _running(self) -> CandidateProcess:
        if self._process is None:
            with spent("start"):
                self._process = CandidateProcess(self._candidate, self._params, self._device, Path.cwd(), self._mutates)
            self._confined = self._process.confined
        return self._process

    def _call(self, inputs: tuple[Any, ...], output: Any) -> Any:
        """One call in the other process, on copies of the inputs; its answer is copied to `output`.

        Raises `CandidateError` where an input has changed, or memory beside the tensors has.
        """
        process = self._running()
        like = InPlace(output, {place: inputs[place] for place in self._mutates}) if self._mutates else output
        layout = Layout.of(inputs, like, 1)
        block = make_block(self._device, layout.nbytes)
        places, answer = layout.views(block.bytes, 0)
        tree.write(places, inputs)
        self._device.synchronize()
        if layout == self._layout:
            process.run(block)
        else:
            process.prepare(layout, block)
            self._layout = layout
            self.told = process.told
            self._ignored_params[:] = self.told.ignored_params
        tree.fill(output, answer.returned if isinstance(answer, InPlace) else answer)
        for position, (place, value) in enumerate(zip(places, inputs, strict=True)):
            if position not in self._mutates and not tree.same_bytes(place, value):
                raise changed_input(position)
        touched = layout.first_overwritten(block.bytes, 0)
        if touched is not None:
            raise wrote_beyond("The candidate wrote outside of its output.")
        found = InPlace(output, tree.clone(answer.changed)) if isinstance(answer, InPlace) else output
        self._device.synchronize()
        block.close()
        return found
