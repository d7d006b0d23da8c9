"""Who is screened together: a process takes seconds to start, and a candidate's race a tenth of one.

Candidates that a search is about to ask for are checked and raced in one process. Whatever does not end well there is
evaluated once more by itself, so that no candidate pays for what another one did to their process.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_kgate.search.policy.trial import Trial
    from pytest_kgate.search.space.configuration import Configuration

MOST = 8
"""Of one process: the start is then an eighth of what it was, and a crash costs eight starts."""


class Groups:
    """Candidates that were announced, and trials of those that were evaluated ahead of their turn. Thread-safe."""

    def __init__(self, jobs: int = 1, *, together: bool = True) -> None:
        """`jobs` is how many groups are evaluated at a time: each must leave candidates to the others.

        Not `together`: each candidate is a group.
        """
        self._jobs = jobs
        self._most = MOST if together else 1
        self._active = 0
        self._announced: dict[Configuration, None] = {}
        self._taken: dict[tuple[Configuration, int], Future[Trial | None]] = {}
        self._lock = threading.Lock()

    def announce(self, configurations: Sequence[Configuration]) -> None:
        """Announce candidates that will be asked for, in this order."""
        with self._lock:
            self._announced.update(dict.fromkeys(configurations))

    def take(self, configuration: Configuration, rounds: int) -> list[Configuration] | None:
        """Whom to evaluate now: this one first, and those announced behind it; None where `found` has or will have it.

        Whoever takes a group must give it back by `give`.
        """
        with self._lock:
            if (configuration, rounds) in self._taken:
                return None
            self._announced.pop(configuration, None)
            # Who asks next, at the same time, begins a group with the next one: so every second one, where two ask.
            stride = max(1, self._jobs - self._active)
            group = [configuration, *list(self._announced)[stride - 1 :: stride][: self._most - 1]]
            self._active += 1
            for one in group:
                self._announced.pop(one, None)
                self._taken[one, rounds] = Future()
            return group

    def dissolve(self) -> None:
        """Take each candidate by itself from now on: a group took so long that it was ended."""
        self._most = 1

    def give(self, group: Sequence[Configuration], rounds: int, trials: Sequence[Trial | None]) -> None:
        """What came of a group: None for one that is to be evaluated by itself."""
        with self._lock:
            self._active -= 1
        for one, trial in zip(group, trials, strict=True):
            self._taken[one, rounds].set_result(trial)

    def found(self, configuration: Configuration, rounds: int) -> Trial | None:
        """What came of it in its group, once only: who asks again wants it evaluated again."""
        trial = self._taken[configuration, rounds].result()
        with self._lock:
            self._taken.pop((configuration, rounds), None)
        return trial
