"""What several verbs take that have tests judged: durations, a journal, arguments for pytest, the width of a table."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from pytest_kgate.report.text.render import usual_columns

_UNITS = (3600.0, 60.0, 1.0)
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", re.ASCII)


def duration(text: str) -> float:
    """The seconds that a text such as `90`, `90s`, `10m` or `1h30m` means."""
    found = _DURATION.fullmatch(text.strip())
    parts = found.groups(default="0") if found else ("0", "0", "0")
    seconds = sum(float(part) * unit for part, unit in zip(parts, _UNITS, strict=True))
    if not seconds:
        raise argparse.ArgumentTypeError(f"takes a duration such as 90s, 10m or 1h30m, not {text!r}")
    return seconds


def count(text: str) -> int:
    """A whole number from 1."""
    if not (text.isascii() and text.isdigit()) or not int(text):
        raise argparse.ArgumentTypeError(f"takes a whole number from 1, not {text!r}")
    return int(text)


def amount(text: str) -> int:
    """A whole number from 0."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"takes a whole number from 0, not {text!r}")
    return int(text)


def processes(text: str) -> int:
    """1, or a whole number from 3: of two it can't be told how processes differ."""
    if count(text) == 2:
        raise argparse.ArgumentTypeError("takes 1, or a whole number from 3, such as 5")
    return int(text)


def add_pytest(parser: argparse.ArgumentParser, example: str = "--kgate-device=cuda:1") -> None:
    """Arguments for pytest, as a list of them."""
    parser.add_argument(
        "--pytest",
        metavar="ARGUMENT",
        action="append",
        default=[],
        help=f"for pytest, such as --pytest={example}; once for each",
    )


def add_journal(parser: argparse.ArgumentParser) -> None:
    """The journal that a verb reads."""
    parser.add_argument("journal", type=Path, metavar="JOURNAL", help="written by `kgate search`, such as search.jsonl")


def add_width(parser: argparse.ArgumentParser) -> None:
    """How wide the table may be."""
    parser.add_argument("--width", type=count, help="columns of the table; default: the terminal's, from 80 to 120")


def width_of(options: argparse.Namespace) -> int:
    """The columns to write."""
    return options.width or usual_columns()


def colored() -> bool:
    """Whether standard output shows colours."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ
