"""A search's strategy that has a provider write its candidates, each in the knowledge of all before."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kgate.search.prompts.replies.reply import Reply
from pytest_kgate.search.prompts.replies.reply import digest
from pytest_kgate.search.prompts.replies.reply import read_reply
from pytest_kgate.search.prompts.replies.stored import Replies
from pytest_kgate.search.prompts.replies.stored import configuration_of

if TYPE_CHECKING:
    from pytest_kgate.search.policy.trial import Trial
    from pytest_kgate.search.prompts.facts.told import Told
    from pytest_kgate.search.prompts.provider import Answer
    from pytest_kgate.search.space.configuration import Configuration

MOST_REFUSED = 10
"""Replies in a row without a source, after which a provider is not asked again."""

_CROSS_EVERY = 3
"""Each so-manieth prompt offers two parents to cross, once there are two."""


class ProvidedSources:
    """As `strategies.protocol.Strategy`. Replies that are stored already are proposed again, and nobody is asked."""

    def __init__(
        self,
        ask: Callable[[str], Answer],
        write: Callable[[Sequence[Trial], int], tuple[str, Told]],
        replies: Replies,
        suffix: str,
    ) -> None:
        """`ask` takes a prompt to the provider.

        `write` makes one of the trials so far and the number of parents wanted, and says what it tells.
        """
        self._ask = ask
        self._write = write
        self._replies = replies
        self._suffix = suffix
        self._stored = list(replies)
        self._trials: list[Trial] = []
        self._pending: set[Configuration] = set()
        self._refused = 0

    @property
    def exhausted(self) -> bool:
        """Whether the provider has answered nothing of use for too long."""
        return self._refused >= MOST_REFUSED and not self._stored

    def ask(self, count: int) -> list[Configuration]:
        """One candidate; none until it was told what became of it."""
        if self._pending or count < 1 or self.exhausted:
            return []
        reply = self._stored.pop(0) if self._stored else self._asked()
        self._refused = self._refused + 1 if reply.refused else 0
        configuration = configuration_of(reply)
        self._pending.add(configuration)
        return [configuration]

    def tell(self, trial: Trial) -> None:
        """Learn what became of the candidate."""
        self._pending.discard(trial.configuration)
        self._trials.append(trial)

    def parents(self, configuration: Configuration) -> tuple[Configuration, ...]:
        """None: a trial has those that its reply names."""
        return ()

    def _asked(self) -> Reply:
        wanted = 2 if len(self._replies) % _CROSS_EVERY == _CROSS_EVERY - 1 else 1
        prompt, told = self._write(self._trials, wanted)
        answer = self._ask(prompt)
        parents = tuple(one.id for one in told.parents)
        if answer.refused:
            reply = Reply(digest(answer.text), "", self._suffix, parents=parents, refused=answer.refused)
        else:
            reply = read_reply(answer.text, self._suffix, told.parents[0].source if told.parents else None, parents)
        return self._replies.add(reply, answer.text)
