"""The journal of one search: what the search writes as it goes, and what it finds there when it is taken up again."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.report.record.values import now
from pytest_kgate.search.journal.events import SCHEMA
from pytest_kgate.search.journal.events import VERSION
from pytest_kgate.search.journal.events import confirmation_facts
from pytest_kgate.search.journal.events import trial_facts
from pytest_kgate.search.journal.file import EventFile
from pytest_kgate.search.journal.history import MOST_ATTEMPTS
from pytest_kgate.search.journal.history import History
from pytest_kgate.search.journal.history import Key
from pytest_kgate.search.journal.history import key_facts
from pytest_kgate.search.journal.scope import Scope
from pytest_kgate.search.policy import alpha
from pytest_kgate.search.policy.trial import Confirmation
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration

_QUARANTINED = f"the search itself ended {MOST_ATTEMPTS} times while this candidate was evaluated; it is left alone"


@dataclass(frozen=True)
class Head:
    """What is searched, and how: what a reader must know to understand the journal, or to go on with the search."""

    test: str
    """Node id of the test."""
    strategy: str
    seed: int
    space: Mapping[str, Any] = field(default_factory=dict)
    """Knobs and constraints."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else the search was asked for."""

    def facts(self) -> dict[str, Any]:
        """The head in JSON's own types."""
        return {
            "test": self.test,
            "strategy": self.strategy,
            "seed": self.seed,
            "space": dict(self.space),
            "options": dict(self.options),
        }


class Journal:
    """Writes events, and knows what all events so far come to."""

    def __init__(self, head: Head, scope: Scope, file: EventFile | None = None) -> None:
        """A search without a file leaves nothing behind; with one it goes on with what the file holds."""
        self.scope = scope
        self.history = History.of(file.events if file is not None else ())
        self.notices: list[str] = []
        """What whoever goes on with a search must be told."""
        self._file = file
        self._announce()
        if not self.history.head:
            self._write("search", schema=SCHEMA, version=VERSION, **head.facts(), scope=scope.facts())
            return
        differences = scope.differences(self.history.scope)
        self._write("resumed", scope=scope.facts(), differences=differences)
        if differences:
            kept = "Outcomes and confirmations from before do not count here; what confirmations have paid still does."
            self.notices.append(f"This is not where the search was: {'; '.join(differences)}. {kept}")

    @classmethod
    def open(cls, path: Path, head: Head, scope: Scope, *, resume: bool = False) -> Journal:
        """The journal in this file, which no other process may write until `close`.

        Raises UsageError where there is one already and it is not to be resumed, where another process writes it, or
        where the file is none.
        """
        file = EventFile.open(path)
        try:
            if file.events and not resume:
                raise UsageError(
                    f"{path} holds a search already.", "Go on with it by --resume, or name another file for a new one."
                )
            if file.events and file.events[0]["test"] != head.test:
                raise UsageError(
                    f"{path} is a search for {file.events[0]['test']}, not for {head.test}.",
                    "Name the journal of this test, or another file for a new search.",
                )
            return cls(head, scope, file)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        """Let other processes write."""
        if self._file is not None:
            self._file.close()

    def key(self, configurations: Sequence[Configuration], rounds: int) -> Key:
        """The key of an evaluation of these candidates, in so many rounds, in this scope."""
        return Key(tuple(self.scope.identity(one) for one in configurations), rounds)

    def finished(self, key: Key, configurations: Sequence[Configuration]) -> list[Trial] | None:
        """What the evaluation came to; None where it has to be made, or made again.

        What has twice begun and never ended is written down as a crash here.
        """
        found = self.history.finished(key)
        attempts = self.history.attempts.get(key, [])
        if found is None and len(attempts) >= MOST_ATTEMPTS and attempts[-1] is None:
            found = [Trial(one, "crash", _QUARANTINED, joint=len(configurations) > 1) for one in configurations]
            self.outcome(key, found)
        return found

    def started(self, key: Key, configurations: Sequence[Configuration]) -> None:
        """Write that an evaluation is about to begin."""
        self._write("started", **key_facts(key), knobs=[one.as_dict() for one in configurations])

    def outcome(self, key: Key, trials: Sequence[Trial]) -> None:
        """Write that an evaluation ended, and what became of each candidate."""
        self._write("outcome", **key_facts(key), trials=[trial_facts(one) for one in trials])

    def interrupted(self, keys: Iterable[Key]) -> None:
        """Write that the user gave these evaluations up: they are no crashes."""
        self._write("interrupted", evaluations=[key_facts(key) for key in keys])

    @property
    def champion(self) -> Confirmation | None:
        """The latest confirmation that passed here; one of another source, GPU or driver does not count."""
        found = self.history.champion
        if found is None or found not in self.confirmations(found.configuration):
            return None
        return found

    def confirmations(self, configuration: Configuration) -> list[Confirmation]:
        """The confirmations of this candidate here, oldest first."""
        return self.history.confirmations.get(self.scope.identity(configuration), [])

    def begun_in_vain(self, configuration: Configuration) -> int:
        """How many confirmations of this candidate here have paid and never ended."""
        identity = self.scope.identity(configuration)
        return sum(one.identity == identity for one in self.history.paid) - len(self.confirmations(configuration))

    def pay(self, configuration: Configuration) -> float:
        """Spend the one-sided error rate that the next confirmation may have, and return it.

        Raises UsageError where the search has confirmed too often.
        """
        attempt = len(self.history.paid) + 1
        price = alpha.price(attempt)
        identity = self.scope.identity(configuration)
        self._write("alpha spent", attempt=attempt, alpha=price, id=identity, knobs=configuration.as_dict())
        return price

    def confirmed(self, confirmation: Confirmation) -> None:
        """Write that a confirmation ended; one that passed makes the champion."""
        identity = self.scope.identity(confirmation.configuration)
        self._write("confirmation", id=identity, **confirmation_facts(confirmation))
        self._announce()

    def _announce(self) -> None:
        champion = self.history.champion
        if champion is not None and champion is not self.history.announced:
            one = champion.configuration
            self._write("champion", id=self.history.scope.identity(one), knobs=one.as_dict())

    def ended(self, reason: str) -> None:
        """Write that this process ends its part of the search."""
        self._write("ended", reason=reason)

    def _write(self, event: str, **facts: Any) -> None:
        line = {"event": event, "time": now(), **facts}
        if self._file is not None:
            self._file.append(line)
        self.history.add(line)
