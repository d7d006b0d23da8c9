"""A whole search: ask a strategy, build ahead, screen, tell; then a joint race of the elites and one confirmation.

Estimates move elites. Only the confirmation, on samples that chose nothing, makes a champion, so that a search of ten
thousand candidates claims one with the error rate of a single gate. The evaluator may be a GPU or a simulation: the
error rates that are simulated are those of this very code.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_kgate.search.course.evaluations import Evaluations
from pytest_kgate.search.course.evaluations import TimeIsOver
from pytest_kgate.search.course.halving import Halving
from pytest_kgate.search.course.limits import Budget
from pytest_kgate.search.course.limits import Limit
from pytest_kgate.search.course.limits import Policy
from pytest_kgate.search.journal.history import MOST_ATTEMPTS
from pytest_kgate.search.journal.journal import Journal
from pytest_kgate.search.policy.elites import Elites
from pytest_kgate.search.policy.elites import finalist
from pytest_kgate.search.policy.elites import score
from pytest_kgate.search.policy.evaluator import Evaluator
from pytest_kgate.search.policy.objective import over_races
from pytest_kgate.search.policy.trial import Confirmation
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.space import Space
from pytest_kgate.search.strategies.protocol import Strategy

INTERRUPTED = "it was interrupted"


@dataclass(frozen=True)
class Result:
    """What a search came to."""

    champion: Confirmation | None
    """The latest confirmation that passed; None where none did."""
    confirmation: Confirmation | None
    """That of the finalist, passed or not; None where the search did not come so far."""
    elites: tuple[Trial, ...]
    """By their screenings, best first."""
    raced_together: tuple[Trial, ...]
    """The elites' trials of the joint race; empty where there was none."""
    trials: tuple[Trial, ...]
    """All candidates, in the order of their proposals."""
    alpha_spent: float
    """By all confirmations of the search."""
    stopped: str
    """Why it ended, as a phrase."""


Told = Callable[[Trial, Elites], None]
"""Called with each candidate's trial and the elites that it leaves, for whoever shows progress."""


def search(
    space: Space,
    strategy: Strategy,
    evaluator: Evaluator,
    journal: Journal,
    *,
    budget: Budget,
    policy: Policy | None = None,
    clock: Callable[[], float] = time.monotonic,
    told: Told | None = None,
) -> Result:
    """Search until the budget is spent or the strategy has nothing more to try, then confirm the finalist.

    A search whose journal holds its beginning is replayed from there: the same strategy with the same seed proposes the
    same candidates, and only those whose outcome is missing are evaluated. Ctrl-C ends it with what is known, without
    a confirmation.
    """
    return Course(space, strategy, evaluator, journal, budget, policy or Policy(), clock, told).run()


class Course:
    """One search under way, from its first candidate to the confirmation of its champion."""

    def __init__(
        self,
        space: Space,
        strategy: Strategy,
        evaluator: Evaluator,
        journal: Journal,
        budget: Budget,
        policy: Policy,
        clock: Callable[[], float],
        told: Told | None,
    ) -> None:
        self._strategy = strategy
        self._evaluator = evaluator
        self._journal = journal
        self._policy = policy
        self._limit = Limit(budget, clock)
        self._told = told
        self._elites = Elites(policy.elites, space.macro_of)
        self._halving = Halving(policy.stages)
        self._evaluations = Evaluations(evaluator, journal, policy.width, self._limit.time_is_over, strategy.parents)
        self._trials: dict[Configuration, Trial] = {}
        self._together: tuple[Trial, ...] = ()
        self._confirmation: Confirmation | None = None

    def run(self) -> Result:
        """Run the search from the first candidate to the confirmation."""
        try:
            stopped = self._explore()
            self._confirm(self._finalist())
        except KeyboardInterrupt:
            stopped = INTERRUPTED
        self._journal.ended(stopped)
        return Result(
            self._journal.champion,
            self._confirmation,
            self._elites.trials,
            self._together,
            tuple(self._trials.values()),
            self._journal.history.alpha_spent,
            stopped,
        )

    def _explore(self) -> str:
        """Evaluate candidates; returns why that ended."""
        ahead = self._asked(0)
        while True:
            batch = ahead or self._asked(0)
            evaluated = len(self._trials)
            stopped = self._limit.reached(evaluated)
            if stopped or not batch:
                return stopped or "there was nothing more to try"
            # A strategy that learns waits for this batch; the others' next one is built while this one is screened.
            ahead = self._asked(len(batch))
            try:
                self._screen(batch)
            except TimeIsOver:
                return self._limit.reached(evaluated)

    def _asked(self, pending: int) -> list[Configuration]:
        room = self._limit.room(len(self._trials) + pending, self._policy.batch)
        batch = self._strategy.ask(room) if room and not self._strategy.exhausted else []
        if batch:
            self._evaluator.build(batch)
        return batch

    def _screen(self, batch: Sequence[Configuration]) -> None:
        """Screen a batch through all stages, and tell its trials in the order of their proposals."""
        found: dict[Configuration, Trial] = {}
        left = list(batch)
        try:
            for stage, rounds in enumerate(self._policy.stages):
                for trial in self._evaluations.screened(left, rounds):
                    one = trial.configuration
                    found[one] = over_races(found[one], trial) if one in found else trial
                left = [one for one in left if found[one].raced]
                promoted = self._halving.promoted(stage, [score(found[one]) for one in left])
                left = [one for one, goes_on in zip(left, promoted, strict=True) if goes_on]
        finally:
            for one in batch:
                if one in found:
                    self._learn(found[one])
        for one in batch:
            self._strategy.tell(found[one])

    def _learn(self, trial: Trial) -> None:
        self._trials[trial.configuration] = trial
        elites = self._elites.with_trial(trial)
        self._limit.told(elites is not self._elites)
        self._elites = elites
        if self._told is not None:
            self._told(trial, elites)

    def _finalist(self) -> Trial | None:
        """The candidate to confirm, by a joint race of the elites; by their screenings where that came to nothing."""
        elites = self._elites.trials
        if len(elites) > 1:
            configurations = [one.configuration for one in elites]
            self._together = tuple(self._evaluations.raced_together(configurations, self._policy.joint_rounds))
        return finalist(self._together) or finalist(elites)

    def _confirm(self, trial: Trial | None) -> None:
        """Confirm the finalist; never one that was confirmed before, whatever came of it."""
        if trial is None:
            return
        one = trial.configuration
        before = self._journal.confirmations(one)
        if before:
            self._confirmation = before[-1]
        elif self._journal.begun_in_vain(one) < MOST_ATTEMPTS:
            alpha = self._journal.pay(one)
            self._confirmation = self._evaluator.confirm(one, alpha, self._policy.processes)
            self._journal.confirmed(self._confirmation)
