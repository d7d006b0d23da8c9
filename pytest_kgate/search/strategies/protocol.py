"""What a search asks of a strategy: which candidates to evaluate next."""

from __future__ import annotations

from typing import Protocol

from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration


class Strategy(Protocol):
    """Proposes candidates and learns from their trials.

    What it proposes depends on its seed and on the trials that it was told, not on when or in which order they came
    back: the search tells them in the order in which they were proposed. So a search can be replayed from its journal.
    """

    @property
    def exhausted(self) -> bool:
        """Whether it will never propose anything again."""
        ...

    def ask(self, count: int) -> list[Configuration]:
        """Propose at most `count` candidates that were not proposed before; none while it waits to be told."""
        ...

    def tell(self, trial: Trial) -> None:
        """Learn what became of a candidate that was proposed."""
        ...

    def parents(self, configuration: Configuration) -> tuple[Configuration, ...]:
        """What it made this proposal of; nothing of one that was made of no other, or where it does not say."""
        ...
