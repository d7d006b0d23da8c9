"""How sources of a provider are judged: by the search's tests, in the place of their own candidate, and isolated."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.search.prompts.replies.stored import SOURCE
from pytest_kgate.search.prompts.replies.stored import Replies
from pytest_kgate.search.prompts.replies.stored import id_of
from pytest_kgate.search.running.judge import Judge
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.space import Space

if TYPE_CHECKING:
    from pytest_kgate.search.running.child.order import Order
    from pytest_kgate.search.space.configuration import Value

_SEED = "--pytest=--kgate-seed="

_OWN = Configuration.of({})


@dataclass(frozen=True)
class SourceJudge(Judge):
    """As `Judge`, of candidates that are replies."""

    replies: Replies = field(default_factory=lambda: Replies(Path()))
    entry: str = ""
    """The function of a Python source that is the candidate; empty for sources that are compiled here."""

    def screen(self, configuration: Configuration, rounds: int) -> Order:
        """As `Judge.screen`."""
        return self._of_source(configuration, super().screen(_OWN, rounds))

    def confirm(self, configuration: Configuration, alpha: float, processes: int) -> Order:
        """As `Judge.confirm`, with seeds that each process draws: a command line is read by anyone."""
        return self._of_source(configuration, super().confirm(_OWN, alpha, processes))

    def _of_source(self, configuration: Configuration, order: Order) -> Order:
        reply = self.replies.get(id_of(configuration))
        assert reply is not None
        where = f"{self.replies.path(reply).absolute()}{f':{self.entry}' if reply.suffix == '.py' else ''}"
        kept = tuple(one for one in order.arguments if not one.startswith(_SEED))
        secret = (*order.environment, ("KGATE_SEED", ""))
        return dataclasses.replace(order, arguments=(where, "--isolate", *kept), environment=secret)


@dataclass(frozen=True)
class SourceSpace(Space):
    """The space of a search over sources: each is a kernel of its own."""

    replies: Replies = field(default_factory=lambda: Replies(Path()))

    @classmethod
    def of(cls, replies: Replies) -> SourceSpace:
        """The space of these replies, and of those that they will have."""
        return cls(macro={SOURCE: ("",)}, micro={}, replies=replies)

    def refusal(self, configuration: Configuration) -> str | None:
        """Only of what is no source at all: what is wrong with a source, its judge finds."""
        reply = self.replies.get(id_of(configuration))
        return None if reply is not None and not reply.refused else f"there is no source of {configuration.title}"

    def macro_of(self, configuration: Configuration) -> tuple[Value, ...]:
        """The candidate's id, since each source is a kernel of its own."""
        return (id_of(configuration) or "",)
