"""A search as an HTML page: its figures, and records beside it where there are any."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.report.page.html.page import page
from pytest_kgate.report.page.html.write import check
from pytest_kgate.report.page.html.write import write
from pytest_kgate.report.record.document import load
from pytest_kgate.search.board.figures import figures
from pytest_kgate.search.board.said import champion_of
from pytest_kgate.search.verbs.tree import tree

if TYPE_CHECKING:
    from pytest_kgate.search.journal.history import History

_WIDTH = 160
"""Columns of the tree on a page, which scrolls."""


def write_page(path: Path, history: History, journal: Path, records: Path | None) -> None:
    """Write the page; raises `UsageError` where it can't be written, or where it would take the place of something."""
    check(path, "--html")
    shown = load(records) if records is not None else []
    champion = champion_of(history)
    drawn = figures(history.trials(), champion.configuration if champion else None, tree(history, journal, _WIDTH))
    note = f"A search for {history.head['test']}. Its champion: {champion.configuration.title if champion else 'none'}."
    write(path, page(shown, [str(records)] * len(shown), (note,), search=drawn))
