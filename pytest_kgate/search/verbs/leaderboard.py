"""`kgate leaderboard`: what a search has found so far, whether it runs, has ended or was killed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from pytest_kgate.search.board import t4
from pytest_kgate.search.board.said import board
from pytest_kgate.search.journal.events import Event
from pytest_kgate.search.journal.file import read
from pytest_kgate.search.journal.history import History
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.verbs import arguments
from pytest_kgate.search.verbs.page import write_page
from pytest_kgate.search.verbs.tree import tree
from pytest_kgate.system import json_file

_NO_CHAMPION = 1
"""The exit status where nothing has been confirmed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.description = (
        "Show a search's candidates in the order of their estimates, which are provisional, its champion, and what its "
        "confirmations may have cost in error. The exit status is 0 where there is a champion, 1 where there is none."
    )
    arguments.add_journal(parser)
    parser.add_argument("--most", type=arguments.count, default=10, help="candidates to show; default: %(default)s")
    parser.add_argument(
        "--tree", action="store_true", help="show the elites with their ancestors, what changed, and what it gave"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the search as a page that needs no network")
    parser.add_argument("--records", type=Path, metavar="FILE", help="records (--kgate-json) to show on the page, too")
    arguments.add_width(parser)
    parser.add_argument(
        "--t4", type=Path, metavar="FILE", help="write all outcomes to FILE in T4, the format that autotuners share"
    )


def run(options: argparse.Namespace) -> int:
    """Read the journal, which a search may be writing; returns 0 or 1."""
    events = read(options.journal)
    history = History.of(events)
    width = arguments.width_of(options)
    print("\n".join(board(history, width, arguments.colored(), options.most)))
    if options.tree:
        print("\n".join(["", *tree(history, options.journal, width)]))
    if options.html is not None:
        write_page(options.html, history, options.journal, options.records)
    if options.t4 is not None:
        json_file.save(options.t4, json.dumps(t4.document(_timed(events, history)), indent=1, allow_nan=False) + "\n")
    return 0 if history.champion else _NO_CHAMPION


def _timed(events: Sequence[Event], history: History) -> list[tuple[str, Trial]]:
    """Each trial with the time at which the last evaluation of its candidate ended."""
    times = {event["ids"][0]: event["time"] for event in events if event["event"] == "outcome"}
    return [(times.get(history.scope.identity(one.configuration), ""), one) for one in history.trials()]
