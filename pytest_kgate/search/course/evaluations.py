"""Evaluations that a journal keeps: made once, retried once after a crash, found again where a search is resumed."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait
from dataclasses import replace

from pytest_kgate.search.journal.history import Key
from pytest_kgate.search.journal.journal import Journal
from pytest_kgate.search.policy.evaluator import Evaluator
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration


class TimeIsOver(Exception):
    """The search must end before these evaluations were all made."""


class Evaluations:
    """An evaluator whose evaluations are written to a journal, and read from there where they are known already."""

    def __init__(
        self,
        evaluator: Evaluator,
        journal: Journal,
        width: int,
        time_is_over: Callable[[], bool] = lambda: False,
        parents: Callable[[Configuration], Sequence[Configuration]] = lambda _: (),
    ) -> None:
        """`parents` says what a candidate was made of, where its trial does not."""
        self._evaluator = evaluator
        self._journal = journal
        self._width = width
        self._time_is_over = time_is_over
        self._parents = parents

    def screened(self, configurations: Sequence[Configuration], rounds: int) -> Iterator[Trial]:
        """A trial of each, in their order.

        Raises TimeIsOver where the time is spent before all were begun, after those that were.
        """
        if self._width > 1:
            self._side_by_side(configurations, rounds)
        for one in configurations:
            yield self._made([one], rounds, self._screen)[0]

    def raced_together(self, configurations: Sequence[Configuration], rounds: int) -> list[Trial]:
        """A trial of each from one joint race, in their order."""
        return self._made(configurations, rounds, self._evaluator.joint, limited=False)

    def _screen(self, configurations: Sequence[Configuration], rounds: int) -> list[Trial]:
        return [self._screened(configurations[0], rounds)]

    def _screened(self, one: Configuration, rounds: int) -> Trial:
        trial = self._evaluator.screen(one, rounds)
        return trial if trial.parents else replace(trial, parents=tuple(made.id for made in self._parents(one)))

    def _made(
        self,
        configurations: Sequence[Configuration],
        rounds: int,
        make: Callable[[Sequence[Configuration], int], list[Trial]],
        limited: bool = True,
    ) -> list[Trial]:
        key = self._journal.key(configurations, rounds)
        while (found := self._journal.finished(key, configurations)) is None:
            if limited and self._time_is_over():
                raise TimeIsOver
            self._journal.started(key, configurations)
            try:
                trials = make(configurations, rounds)
            except BaseException:
                self._journal.interrupted([key])
                raise
            self._journal.outcome(key, trials)
        return found

    def _side_by_side(self, configurations: Sequence[Configuration], rounds: int) -> None:
        """Make these evaluations, as many at a time as there are GPUs; only this thread writes the journal."""
        keys = {one: self._journal.key([one], rounds) for one in configurations}
        waiting = [one for one in configurations if self._journal.finished(keys[one], [one]) is None]
        running: dict[Future[Trial], Key] = {}
        pool = ThreadPoolExecutor(self._width)
        try:
            while running or (waiting and not self._time_is_over()):
                while waiting and len(running) < self._width and not self._time_is_over():
                    one = waiting.pop(0)
                    self._journal.started(keys[one], [one])
                    running[pool.submit(self._screened, one, rounds)] = keys[one]
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    trial = future.result()
                    key = running.pop(future)
                    self._journal.outcome(key, [trial])
                    if self._journal.finished(key, [trial.configuration]) is None:
                        waiting.insert(0, trial.configuration)
        except BaseException:
            self._journal.interrupted(running.values())
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
