"""What a search asks of whatever evaluates its candidates: a GPU in child processes, or a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pytest_kgate.search.policy.trial import Confirmation
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration


class Evaluator(Protocol):
    """Evaluates candidates. Whatever a candidate does, a method returns what became of it and does not raise."""

    def build(self, configurations: Sequence[Configuration]) -> None:
        """A hint that these will be asked for, in this order: build ahead, or do nothing. Returns at once."""
        ...

    def screen(self, configuration: Configuration, rounds: int) -> Trial:
        """One candidate: constraints, build, check of its answers, then so many rounds against the reference."""
        ...

    def joint(self, configurations: Sequence[Configuration], rounds: int) -> list[Trial]:
        """Candidates that were screened, all in the same rounds of one process; a trial each, in their order.

        What disturbs a round disturbs all of them alike, so that their differences are known better than their ratios.
        """
        ...

    def confirm(self, configuration: Configuration, alpha: float, processes: int) -> Confirmation:
        """The tests' own gates on fresh processes and fresh seeds, each at this one-sided error rate."""
        ...
