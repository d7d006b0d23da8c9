"""The evaluator of real searches: each evaluation is a child process that runs the user's tests."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_kgate.errors import BuildError
from pytest_kgate.search.policy.trial import Confirmation
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.running.builds.foresee import Build
from pytest_kgate.search.running.builds.foresee import foresee
from pytest_kgate.search.running.groups import Groups
from pytest_kgate.search.running.reading.confirmed import confirmation_of
from pytest_kgate.search.running.reading.outcome import resources_of
from pytest_kgate.search.running.reading.outcome import shortened
from pytest_kgate.search.running.reading.outcome import trial_of
from pytest_kgate.search.running.reading.together import trials_of

if TYPE_CHECKING:
    from pytest_kgate.search.running.builds.ahead import BuildsAhead
    from pytest_kgate.search.running.child.order import Answered
    from pytest_kgate.search.running.child.order import Order
    from pytest_kgate.search.running.executors.pool import Pool
    from pytest_kgate.search.running.judge import Judge
    from pytest_kgate.search.space.configuration import Configuration
    from pytest_kgate.search.space.space import Space


@dataclass(frozen=True)
class Seen:
    """What a test asked for, under the configuration of one of its runs."""

    configuration: Configuration
    builds: tuple[Build, ...]


class ChildEvaluator:
    """As `policy.evaluator.Evaluator`. As many threads as its pool has jobs may call it at once."""

    def __init__(
        self,
        judge: Judge,
        space: Space,
        pool: Pool,
        ahead: BuildsAhead,
        seen: Seen,
        *,
        names: Sequence[str] = (),
        quiet: bool,
        spill_bytes: int = 0,
    ) -> None:
        """`names` are those of the tests' calls, by which candidates that share a process are told apart; without them
        each is screened in a process of its own.

        `quiet`: nothing is built beside any race, since it runs on the cores that build.

        `spill_bytes` is what a candidate may spill, stores and loads of a thread, without being left out.
        """
        self._judge = judge
        self._space = space
        self._pool = pool
        self._ahead = ahead
        self._seen: Seen | None = seen if seen.builds else None
        self._quiet = quiet
        self._spill_bytes = spill_bytes
        self._lock = threading.Lock()
        self._waited = 0.0
        self._names = tuple(names)
        self._groups = Groups(pool.jobs, together=bool(names))

    @property
    def waited_seconds(self) -> float:
        """What evaluations have waited for the device, while none of them had it: no time of the search."""
        return self._waited / self._pool.jobs

    def build(self, configurations: Sequence[Configuration]) -> None:
        """As `Evaluator.build`."""
        allowed = [one for one in configurations if self._space.refusal(one) is None]
        self._groups.announce(allowed)
        for one in allowed:
            self._ahead.want(self._builds_of(one))

    def screen(self, configuration: Configuration, rounds: int) -> Trial:
        """As `Evaluator.screen`; those that were announced behind it are screened in the same process."""
        refusal = self._space.refusal(configuration)
        if refusal is not None:
            return Trial(configuration, "refused", refusal)
        group = self._groups.take(configuration, rounds)
        if group is not None:
            trials: list[Trial | None] = [None] * len(group)
            try:
                trials = self._together(group, rounds)
            finally:
                self._groups.give(group, rounds, trials)
        return self._groups.found(configuration, rounds) or self._alone(configuration, rounds)

    def _together(self, group: Sequence[Configuration], rounds: int) -> list[Trial | None]:
        """Trials of those that are out once they are built, and of those that were raced; None for all others."""
        found: list[Trial | None] = []
        for one in group:
            out, _ = self._built(one, self._builds_of(one))
            found.append(out)
        left = [one for one, out in zip(group, found, strict=True) if out is None]
        if len(left) < 2:
            return found
        with self._silence() if self._quiet else contextlib.nullcontext():
            answered = self._run(self._judge.group(left, rounds))
        expected = [build for one in left for build in self._builds_of(one)]
        self._compare(expected, answered)
        trials = trials_of(left, answered, self._names)
        if any(one.state == "timeout" for one in trials):
            self._groups.dissolve()
        raced = {one.configuration: one for one in trials if one.raced}
        for place, one in enumerate(group):
            if one in raced:
                _, seconds = self._built(one, self._builds_of(one))
                trial = raced[one]
                found[place] = replace(trial, joint=False, seconds={**trial.seconds, "build": seconds})
        return found

    def _alone(self, configuration: Configuration, rounds: int) -> Trial:
        expected = self._builds_of(configuration)
        out, seconds = self._built(configuration, expected)
        if out is not None:
            return out
        with self._silence() if self._quiet else contextlib.nullcontext():
            answered = self._run(self._judge.screen(configuration, rounds))
        self._compare(expected, answered)
        trial = trial_of(configuration, answered)
        return replace(trial, seconds={**trial.seconds, "build": seconds})

    def joint(self, configurations: Sequence[Configuration], rounds: int) -> list[Trial]:
        """As `Evaluator.joint`."""
        with self._silence():
            answered = self._run(self._judge.joint(configurations, rounds))
        return trials_of(configurations, answered, self._names)

    def confirm(self, configuration: Configuration, alpha: float, processes: int) -> Confirmation:
        """As `Evaluator.confirm`."""
        with self._silence():
            answered = self._run(self._judge.confirm(configuration, alpha, processes))
        return confirmation_of(configuration, answered, alpha, processes)

    def _run(self, order: Order) -> Answered:
        answered = self._pool.run(order)
        with self._lock:
            self._waited += answered.waited_seconds
        return answered

    @contextlib.contextmanager
    def _silence(self) -> Iterator[None]:
        with self._ahead.paused():
            yield

    def _builds_of(self, configuration: Configuration) -> list[Build]:
        """What the test will ask for; nothing where that was wrong before."""
        seen = self._seen
        return [] if seen is None else foresee(seen.configuration, seen.builds, configuration)

    def _compare(self, expected: Sequence[Build], answered: Answered) -> None:
        """Stop foreseeing builds once the test asks for others, and leave it to the children to build."""
        if answered.answer is None or not expected:
            return
        asked = dict.fromkeys(Build.of(one) for one in answered.answer.get("builds", ()))
        if asked and {_without_arch(one) for one in asked} != {_without_arch(one) for one in expected}:
            self._seen = None

    def _built(self, configuration: Configuration, builds: Sequence[Build]) -> tuple[Trial | None, float]:
        """Why the candidate is out once it is built, as a trial; None where it goes on. And what building took."""
        seconds, kernels = 0.0, []
        for build in builds:
            built = self._ahead.get(build)
            seconds += built.seconds
            if isinstance(built.outcome, BuildError):
                reason = shortened(built.outcome.what)
                return Trial(configuration, "unbuildable", reason, seconds={"build": seconds}), seconds
            if isinstance(built.outcome, Exception):  # not the candidate's fault: its session will say it
                return None, seconds
            kernels += [one.to_dict() for one in built.outcome.resources]
        resources = resources_of(kernels)
        out = Trial(configuration, "spills", resources=resources, seconds={"build": seconds})
        spilled, shared = resources.get("spill_bytes", 0), resources.get("shared_bytes", 0)
        most = self._space.facts.get("smem_bytes")
        if spilled > self._spill_bytes:
            return replace(out, reason=f"The compiler spills {spilled} bytes of registers a thread."), seconds
        if isinstance(most, int) and shared > most:
            reason = f"It takes {shared} bytes of shared memory a block, of {most} that there are."
            return replace(out, state="refused", reason=reason), seconds
        return None, seconds


def _without_arch(build: Build) -> Build:
    """As asked for by a test, which need not name the architecture that the search builds for."""
    return replace(build, arch=None)
