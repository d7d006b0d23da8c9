"""What a search shows while it runs: how far it is, its best estimate, and how long it goes on trying candidates."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import TextIO

from pytest_kgate.report.format import counted
from pytest_kgate.report.format import ratio
from pytest_kgate.search.course.limits import SHARE_OF_THE_END

if TYPE_CHECKING:
    from pytest_kgate.search.course.limits import Budget
    from pytest_kgate.search.policy.elites import Elites
    from pytest_kgate.search.policy.evaluator import Evaluator
    from pytest_kgate.search.policy.trial import Confirmation
    from pytest_kgate.search.policy.trial import Trial
    from pytest_kgate.search.space.configuration import Configuration

_CLEAR = "\r\x1b[K"


def remaining(budget: Budget, most: int, done: int, spent: float) -> float | None:
    """Seconds until the last candidate is known, about; None where nobody knows.

    `most` is the number of candidates that there are, `done` of them took `spent` seconds. By the candidates the rest
    will take as long as those so far did; the budget may end them sooner. Nothing is said of the joint race and the
    confirmation: what their processes take depends on the test, and not on how many candidates there were.
    """
    known = [] if budget.seconds is None else [budget.seconds * (1 - SHARE_OF_THE_END) - spent]
    if done:
        known.append(spent / done * (min(most, budget.evaluations or most) - done))
    return max(0.0, min(known)) if known else None


def about(seconds: float) -> str:
    """`40 s`, `2 min`, `1 h 20 min`: no finer than it can be known."""
    if seconds < 90:
        return f"{max(5, 5 * math.ceil(seconds / 5))} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def asked_for(seconds: float) -> str:
    """`90 s`, `10 min`, `1 h 30 min`: a duration that somebody has chosen, as it is."""
    if seconds % 60:
        return f"{seconds:.10g} s"
    hours, minutes = divmod(int(seconds) // 60, 60)
    return " ".join([*[f"{hours} h"] * bool(hours), *[f"{minutes} min"] * bool(minutes)])


def budget_text(budget: Budget) -> str:
    """`10 min, 40 evaluations`: all that limits a search."""
    limits = []
    if budget.seconds is not None:
        limits.append(asked_for(budget.seconds))
    if budget.evaluations is not None:
        limits.append(counted(budget.evaluations, "evaluation"))
    if budget.generations is not None:
        limits.append(f"{counted(budget.generations, 'generation')} without a better elite")
    return ", ".join(limits)


def hang_text(budget: Budget, limit_seconds: float) -> str:
    """What one candidate that hangs may cost, where that is more than the budget leaves; empty where it is not."""
    if budget.seconds is None or limit_seconds <= budget.seconds * (1 - SHARE_OF_THE_END):
        return ""
    return (
        f"A candidate that hangs is ended after {asked_for(limit_seconds)}, whatever is left of the budget; "
        "--time-limit sets less."
    )


class Progress:
    """Says on standard error what happens: one line that changes on a terminal, else a line for each better candidate.

    Stands between a search and its evaluator, as an evaluator itself.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        budget: Budget,
        most: int,
        clock: Callable[[], float],
        stream: TextIO | None = None,
        *,
        together: bool = True,
    ) -> None:
        """`together`: whether elites are raced in the same rounds, or one after the other."""
        self._evaluator = evaluator
        self._budget = budget
        self._most = most
        self._together = together
        self._clock = clock
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._start = clock()
        self._candidates: set[Configuration] = set()
        self._told = 0
        self._best: Trial | None = None
        self._lock = threading.Lock()

    def build(self, configurations: Sequence[Configuration]) -> None:
        """As `Evaluator.build`."""
        self._evaluator.build(configurations)

    def screen(self, configuration: Configuration, rounds: int) -> Trial:
        """As `Evaluator.screen`."""
        trial = self._evaluator.screen(configuration, rounds)
        with self._lock:
            self._candidates.add(configuration)
            if self._live:
                self._show()
        return trial

    def joint(self, configurations: Sequence[Configuration], rounds: int) -> list[Trial]:
        """As `Evaluator.joint`."""
        how = "in one race of" if self._together else "one after the other, each in"
        self._say(f"{counted(len(configurations), 'elite')} {how} {counted(rounds, 'round')}")
        return self._evaluator.joint(configurations, rounds)

    def confirm(self, configuration: Configuration, alpha: float, processes: int) -> Confirmation:
        """As `Evaluator.confirm`."""
        self._say(f"confirming {configuration.title} in {counted(processes, 'fresh process')}")
        return self._evaluator.confirm(configuration, alpha, processes)

    def told(self, trial: Trial, elites: Elites) -> None:
        """A candidate's trial is known, and the elites that it leaves."""
        self._told += 1
        best = elites.trials[0] if elites.trials else None
        if best is not None and best != self._best:
            self._best = best
            self._say(self._line(self._told))

    def done(self) -> None:
        """Leave the terminal's line as it was."""
        if self._live:
            self._stream.write(_CLEAR)
            self._stream.flush()

    def _line(self, done: int) -> str:
        # Those of a batch are told together, once all are known.
        left = remaining(self._budget, self._most, len(self._candidates), self._clock() - self._start)
        parts = [f"{counted(done, 'candidate')}"]
        if self._best is not None and self._best.objective is not None:
            best = self._best.objective.log_ratio
            parts.append(f"best ratio {ratio(math.exp(best))} (provisional) with {self._best.configuration.title}")
        if left:
            parts.append(f"about {about(left)} until the last candidate")
        return ", ".join(parts)

    def _say(self, text: str) -> None:
        self._stream.write(f"{_CLEAR if self._live else ''}{text}\n")
        if self._live:
            self._show()
        self._stream.flush()

    def _show(self) -> None:
        self._stream.write(f"{_CLEAR}{self._line(len(self._candidates))[:100]}")
        self._stream.flush()
