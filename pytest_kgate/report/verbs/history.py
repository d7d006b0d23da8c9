"""`kgate history`: what gates found over time, drawn in the terminal; and a branch by which machines share it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pytest_kgate.errors import UsageError
from pytest_kgate.report.text.render import usual_columns
from pytest_kgate.report.together.history import branch
from pytest_kgate.report.together.history import changes
from pytest_kgate.report.together.history.draw import chart
from pytest_kgate.report.together.history.draw import overview
from pytest_kgate.report.together.history.series import series_of
from pytest_kgate.report.together.history.store import read

_NARROWEST = 40
"""Columns in which there is room for a name and a drawing."""

_MOST_CHARTS = 3
"""Series that are drawn at length where a name fits several."""

_WITHOUT = (
    "kgate: changes of level are looked for by the package ruptures, which is not installed: "
    "pip install 'pytest-kgate[history]'."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `kgate history`."""
    parser.add_argument(
        "words",
        nargs="+",
        metavar="[push|pull] PATH [TEST]",
        help="a file or directory of `pytest --kgate-history PATH`, and a part of a test's name to draw at length; "
        "or push to, or pull from, a branch that holds nothing else",
    )
    parser.add_argument("--branch", default="kgate-history", help="of push and pull; default: kgate-history")
    parser.add_argument("--remote", default="origin", help="of push and pull; default: origin")
    parser.add_argument("--width", type=int, help="columns; default: the terminal's, from 80 to 120")


def run(options: argparse.Namespace) -> int:
    """Draw, push or pull."""
    first, *others = options.words
    if first in ("push", "pull"):
        if len(others) != 1:
            raise UsageError(f"kgate history {first} takes one path.", f"kgate history {first} history.jsonl")
        move = branch.push if first == "push" else branch.pull
        print(move(Path(others[0]), options.remote, options.branch))
        return 0
    if len(others) > 1:
        raise UsageError("kgate history takes a path and a part of a test's name.", "Quote names with blanks.")
    if options.width is not None and options.width < _NARROWEST:
        raise UsageError(f"--width {options.width} is too narrow.", f"It takes {_NARROWEST} columns or more.")
    history = read(Path(first))
    width = options.width or usual_columns()
    series = series_of(history.points)
    if not others:
        print("\n".join(overview(series, width)))
    else:
        found = [one for one in series if others[0] in one.title]
        if not found:
            raise UsageError(
                f"No test of {first} has {others[0]!r} in its name.", f"`kgate history {first}` lists them."
            )
        looked = changes.can_look()
        for one in found[:_MOST_CHARTS]:
            print("\n".join(chart(one, width, changes.changes_of(one.raced) if looked else ())))
        if len(found) > _MOST_CHARTS:
            print(f"\nAnd {len(found) - _MOST_CHARTS} more that fit:")
            print("\n".join(overview(found[_MOST_CHARTS:], width)))
        if not looked:
            print(_WITHOUT, file=sys.stderr)
    for line in history.said:
        print(f"kgate: {line}", file=sys.stderr)
    return 0
