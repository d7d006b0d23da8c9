"""What a journal's events come to: outcomes by candidate and stage, confirmations, the champion. Pure."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any
from typing import NamedTuple

from pytest_kgate.errors import UsageError
from pytest_kgate.search.journal.events import Event
from pytest_kgate.search.journal.events import confirmation_of
from pytest_kgate.search.journal.events import trial_of
from pytest_kgate.search.journal.forms import demand_form
from pytest_kgate.search.journal.scope import Scope
from pytest_kgate.search.policy.objective import over_races
from pytest_kgate.search.policy.trial import Confirmation
from pytest_kgate.search.policy.trial import Trial

MOST_ATTEMPTS = 2
"""Times that a candidate may crash, or end the whole search while it is evaluated, before it is left alone."""


class Key(NamedTuple):
    """One evaluation: of whom, and in how many rounds."""

    identities: tuple[str, ...]
    """Of the candidate, or of all of a joint race."""
    rounds: int


class Paid(NamedTuple):
    """A confirmation that was begun."""

    identity: str
    alpha: float


@dataclass
class History:
    """The state of a search, event by event; a journal that is written and one that is read come to the same."""

    head: Event = field(default_factory=dict)
    """The first event."""
    scope: Scope = field(default_factory=Scope)
    """Of the process that wrote last."""
    attempts: dict[Key, list[list[Trial] | None]] = field(default_factory=dict)
    """What came of each attempt at an evaluation, a trial for each candidate; None where nothing did (yet)."""
    paid: list[Paid] = field(default_factory=list)
    """Confirmations that were begun, in their order."""
    confirmations: dict[str, list[Confirmation]] = field(default_factory=dict)
    """Those that ended, by identity."""
    champion: Confirmation | None = None
    """The latest confirmation that passed."""
    announced: Confirmation | None = None
    """The latest champion that has an event of its own; the process may have been killed before it wrote one."""
    ended: str = ""
    """Why the last process that ended did; empty while one is at work, or where it was killed."""

    @classmethod
    def of(cls, events: Iterable[Event]) -> History:
        """The history of these events."""
        history = cls()
        for number, event in enumerate(events, start=1):
            try:
                history.add(event)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                raise UsageError(
                    f"Line {number} of the journal, {event['event']!r}, is not as a search writes it: "
                    f"{type(error).__name__}, {error}.",
                    "Take back what was changed by hand, or begin a new search in another file.",
                ) from error
        return history

    def add(self, event: Event) -> None:
        """Take one more event in; those of later versions are passed over."""
        take = _TAKEN_BY.get(event["event"])
        if take is not None:
            demand_form(event)
            take(self, event)

    def finished(self, key: Key) -> list[Trial] | None:
        """What the evaluation came to; None where it has to be made, or made again."""
        attempts = self.attempts.get(key, [])
        last = attempts[-1] if attempts else None
        if last is None or (len(attempts) < MOST_ATTEMPTS and any(trial.state == "crash" for trial in last)):
            return None
        return last

    def trials(self) -> list[Trial]:
        """One for each candidate of the last scope that was screened, with the estimates of all its rounds."""
        found: dict[str, Trial] = {}
        for key in self.attempts:
            trials = self.finished(key)
            if trials is None or len(key.identities) != 1 or trials[0].joint:
                continue
            (trial,), (identity,) = trials, key.identities
            if identity == self.scope.identity(trial.configuration):
                found[identity] = over_races(found[identity], trial) if identity in found else trial
        return list(found.values())

    def standings(self) -> list[Trial]:
        """The same, of the elites with the estimates of their joint race alone, by which the finalist is chosen.

        It has most rounds, and no sample of it chose who took part.
        """
        together: dict[str, Trial] = {}
        for key in self.attempts:
            trials = self.finished(key)
            if trials and trials[0].joint:
                together.update(
                    (identity, one) for identity, one in zip(key.identities, trials, strict=True) if one.raced
                )
        return [self._standing(one, together) for one in self.trials()]

    def _standing(self, trial: Trial, together: Mapping[str, Trial]) -> Trial:
        later = together.get(self.scope.identity(trial.configuration))
        return trial if later is None else replace(trial, estimates=later.estimates, objective=later.objective)

    @property
    def alpha_spent(self) -> float:
        """One-sided chance that all confirmations together had to pass falsely."""
        return sum(one.alpha for one in self.paid)

    def _search(self, event: Event) -> None:
        self.head = event
        self.scope = Scope.of(event["scope"])

    def _resumed(self, event: Event) -> None:
        self.scope = Scope.of(event["scope"])
        self.ended = ""

    def _started(self, event: Event) -> None:
        self.attempts.setdefault(key_of(event), []).append(None)

    def _outcome(self, event: Event) -> None:
        key, trials = key_of(event), [trial_of(one) for one in event["trials"]]
        if not trials or len(trials) != len(key.identities):
            raise ValueError(f"{len(trials)} trials of {len(key.identities)} candidates")
        self.attempts.setdefault(key, [None])[-1] = trials

    def _interrupted(self, event: Event) -> None:
        for one in event["evaluations"]:
            attempts = self.attempts.get(key_of(one), [])
            if attempts and attempts[-1] is None:
                attempts.pop()

    def _alpha_spent(self, event: Event) -> None:
        self.paid.append(Paid(str(event["id"]), _chance(event["alpha"])))

    def _confirmation(self, event: Event) -> None:
        confirmation = confirmation_of(event)
        self.confirmations.setdefault(event["id"], []).append(confirmation)
        if confirmation.passed:
            self.champion = confirmation

    def _champion(self, event: Event) -> None:
        self.announced = self.champion

    def _ended(self, event: Event) -> None:
        self.ended = event["reason"]


_TAKEN_BY: Mapping[str, Callable[[History, Event], None]] = {
    "search": History._search,
    "resumed": History._resumed,
    "started": History._started,
    "outcome": History._outcome,
    "interrupted": History._interrupted,
    "alpha spent": History._alpha_spent,
    "confirmation": History._confirmation,
    "champion": History._champion,
    "ended": History._ended,
}


def _chance(alpha: float) -> float:
    """The chance, where it is one; a journal that names another has not paid."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha}")
    return float(alpha)


def key_of(event: Event) -> Key:
    """The evaluation that an event is about."""
    return Key(tuple(event["ids"]), event["rounds"])


def key_facts(key: Key) -> dict[str, Any]:
    """The key of an evaluation in JSON's own types."""
    return {"ids": list(key.identities), "rounds": key.rounds}
