"""Evaluates candidates that are sources of a provider: isolated, compiled in confinement, each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.prompts.replies.stored import id_of

if TYPE_CHECKING:
    from pytest_kgate.search.policy.evaluator import Evaluator
    from pytest_kgate.search.policy.trial import Confirmation
    from pytest_kgate.search.prompts.replies.stored import Replies
    from pytest_kgate.search.space.configuration import Configuration


class SourcesEvaluator:
    """As `policy.evaluator.Evaluator`, in front of one that judges files."""

    def __init__(self, judging: Evaluator, replies: Replies) -> None:
        self._judging = judging
        self._replies = replies

    def build(self, configurations: Sequence[Configuration]) -> None:
        """Nothing: sources that are not trusted are compiled by the process that judges them, in confinement."""

    def screen(self, configuration: Configuration, rounds: int) -> Trial:
        """As `Evaluator.screen`; a reply without a source is refused, and says why."""
        reply = self._replies.get(id_of(configuration))
        if reply is None or reply.refused:
            trial = Trial(configuration, "refused", reply.refused if reply else "Its reply is not stored any more.")
        else:
            trial = self._judging.screen(configuration, rounds)
        return replace(trial, source=reply.id if reply else "", parents=reply.parents if reply else ())

    def joint(self, configurations: Sequence[Configuration], rounds: int) -> list[Trial]:
        """One after the other: processes that isolate candidates have no rounds in common."""
        return [self.screen(one, rounds) for one in configurations]

    def confirm(self, configuration: Configuration, alpha: float, processes: int) -> Confirmation:
        """As `Evaluator.confirm`."""
        return self._judging.confirm(configuration, alpha, processes)
