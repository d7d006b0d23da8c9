"""The tree of a search's elites, as verbs print it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.search.board.said import places_of
from pytest_kgate.search.board.table import in_columns
from pytest_kgate.search.board.tree import lines_of_tree
from pytest_kgate.search.prompts.facts.described import SourceChanges
from pytest_kgate.search.prompts.replies.stored import Replies
from pytest_kgate.search.prompts.replies.stored import folder_of

if TYPE_CHECKING:
    from pytest_kgate.search.journal.history import History

_ELITES = 4


def tree(history: History, journal: Path, width: int) -> list[str]:
    """The fastest candidates of a search, each with what it came from."""
    elites = [place.trial for place in places_of(history)[:_ELITES]]
    lines = lines_of_tree(elites, history.standings(), SourceChanges(Replies(folder_of(journal))))
    return in_columns(lines, width) or ["No candidate was raced, so that there is no tree."]
