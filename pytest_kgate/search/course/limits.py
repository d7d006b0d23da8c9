"""When a search ends, and how it goes about its work. Pure data, but for the clock that is handed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pytest_kgate.search.course.halving import STAGES
from pytest_kgate.statistics.wording import counted

GENERATION = 8
"""Candidates that make a generation: the elites of a search are unchanged for so many generations of this size."""

SHARE_OF_THE_END = 0.2
"""Of the seconds, kept for the joint race and the confirmation."""


@dataclass(frozen=True)
class Budget:
    """What a search may spend; it ends at whichever is spent first, or where its strategy has nothing more to try."""

    seconds: float | None = None
    """Of this process. A fifth is kept for the joint race and the confirmation, which end whatever they take."""
    evaluations: int | None = None
    """Candidates that are built and screened, those of earlier processes of the same search among them."""
    generations: int | None = None
    """How many of them, eight candidates each, may leave the elites unchanged."""


@dataclass(frozen=True)
class Policy:
    """How candidates are raced. What a search costs and finds depends on it; the error rate of its claim does not."""

    elites: int = 4
    stages: tuple[int, ...] = STAGES
    """Rounds of the screening; a candidate that is promoted has those of the later stages on top."""
    joint_rounds: int = 48
    """Of the elites' joint race."""
    processes: int = 5
    """Fresh processes of the confirmation: what a process's memory layout does to a latency lasts as long as it."""
    batch: int = GENERATION
    """Candidates that are proposed, built ahead and screened together. A search that is resumed must have the same."""
    width: int = 1
    """Screenings at one time; more than 1 only where the evaluator has a GPU for each."""


class Limit:
    """Says when the search part of the budget is spent."""

    def __init__(self, budget: Budget, clock: Callable[[], float]) -> None:
        self._budget = budget
        self._clock = clock
        self._start = clock()
        self._unchanged = 0

    @property
    def seconds_spent(self) -> float:
        """Seconds since the search began."""
        return self._clock() - self._start

    def time_is_over(self) -> bool:
        """Whether nothing more may be begun but the end of the search."""
        seconds = self._budget.seconds
        return seconds is not None and self.seconds_spent >= seconds * (1 - SHARE_OF_THE_END)

    def told(self, changed: bool) -> None:
        """One more candidate is known; whether it changed the elites."""
        self._unchanged = 0 if changed else self._unchanged + 1

    def room(self, evaluations: int, batch: int) -> int:
        """How many more candidates may be asked for, at most a batch."""
        left = self._budget.evaluations
        return batch if left is None else max(0, min(batch, left - evaluations))

    def reached(self, evaluations: int) -> str:
        """Why the search ends now; empty where it goes on."""
        budget = self._budget
        if self.time_is_over():
            return f"its {budget.seconds:g} s, less a fifth for the end, are spent"
        if budget.evaluations is not None and evaluations >= budget.evaluations:
            return f"{counted(evaluations, 'candidate')} {'was' if evaluations == 1 else 'were'} evaluated"
        if budget.generations is not None and self._unchanged >= budget.generations * GENERATION:
            return f"the elites stayed as they were for {counted(budget.generations, 'generation')}"
        return ""
