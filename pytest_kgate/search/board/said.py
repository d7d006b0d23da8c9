"""All that is to be said of a search, line by line: the table of its candidates, its champion, its chance to err."""

from __future__ import annotations

from pytest_kgate.search.board.places import Place
from pytest_kgate.search.board.places import places
from pytest_kgate.search.board.table import MOST_SHOWN
from pytest_kgate.search.board.table import PROVISIONAL
from pytest_kgate.search.board.table import champion_lines
from pytest_kgate.search.board.table import cost_line
from pytest_kgate.search.board.table import in_columns
from pytest_kgate.search.board.table import lines_of
from pytest_kgate.search.board.table import out_line
from pytest_kgate.search.journal.history import History
from pytest_kgate.search.policy.trial import Confirmation
from pytest_kgate.search.space.configuration import Configuration


def champion_of(history: History) -> Confirmation | None:
    """The latest confirmation that passed; one of another source, GPU or driver does not count."""
    found = history.champion
    return found if found is not None and found in _confirmations(history, found.configuration) else None


def places_of(history: History) -> list[Place]:
    """The raced candidates, best first."""
    trials, champion = history.standings(), champion_of(history)
    own = {one.configuration: _confirmations(history, one.configuration) for one in trials}
    return places(trials, own, champion.configuration if champion else None)


def board(history: History, width: int, color: bool, most: int = MOST_SHOWN) -> list[str]:
    """The lines of a leaderboard: its table, and below it what that means."""
    trials, found = history.trials(), places_of(history)
    tried = [one for several in history.confirmations.values() for one in several]
    lines = lines_of(found, width, color, most)
    said = [f"{out_line(trials)} {cost_line(trials)}"] if trials else ["No candidate has been evaluated yet."]
    said += [PROVISIONAL] if found else [f"{one.configuration.title}: {one.reason}" for one in trials[:1] if one.reason]
    said += [f"The search ended: {history.ended}."] if history.ended else []
    said += champion_lines(champion_of(history), tried, history.alpha_spent, len(history.paid) - len(tried))
    return [*lines, *([""] if lines else []), *in_columns(said, width)]


def _confirmations(history: History, configuration: Configuration) -> list[Confirmation]:
    return history.confirmations.get(history.scope.identity(configuration), [])
