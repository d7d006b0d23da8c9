"""Render a `rich` table as lines of text, which are the same in a terminal, a log and a test."""

from __future__ import annotations

import re
import shutil
import textwrap
from io import StringIO
from typing import TYPE_CHECKING
from typing import TextIO

from pytest_kgate.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table


_WHOLE = re.compile(
    r"(?<=\d) (?=(?:%|[nmu]?s\b|rounds?\b|[TG]\w+/s))|`[^`\n]+`|\[[\d.]+(?: [nmu]?s)?, [\d.]+(?: [nmu]?s)?\]"
)
"""Blanks between numbers and their units, what stands in backticks (commands, to be copied), and intervals."""

_LONGEST = 62
"""Of what stays whole. What is longer is matched, too: its second backtick would begin a match of its own."""


def columns(wanted: int | None) -> int:
    """The number of columns to write: the user's choice, else the terminal's width, or 120 where there is none.

    Raises `UsageError` for a choice that is none.
    """
    if wanted is not None and wanted < 1:
        raise UsageError(f"--width cannot be {wanted}.", "It takes a number of columns, such as 100.")
    return wanted or shutil.get_terminal_size(fallback=(120, 24)).columns


def usual_columns() -> int:
    """For text that is read line by line: the terminal's, from 80 to 120, or 100 where there is none."""
    return min(max(shutil.get_terminal_size(fallback=(100, 24)).columns, 80), 120)


def wrapped(value: str, width: int, indent: str = "", *, first: str = "") -> list[str]:
    """A text as lines of at most so many columns, down to a word; those below the first one behind `indent`.

    Numbers with their units, commands in backticks and paths stay whole. `first` is what the first line begins with,
    which is not broken.
    """
    joined = _WHOLE.sub(lambda match: match[0].replace(" ", "\0" if len(match[0]) <= _LONGEST else " "), value)
    lines = textwrap.wrap(
        joined,
        width,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\0", " ") for line in lines] or [first.rstrip()]


def say(text: str, indent: str = "", *, first: str = "", file: TextIO | None = None) -> None:
    """Print a text in the terminal's columns, as `wrapped` lays it out: on stdout, or on `file`; at once."""
    print("\n".join(wrapped(text, usual_columns(), indent, first=first)), file=file, flush=True)


def table_lines(table: Table, width: int, color: bool) -> list[str]:
    """The table's lines, without blanks at their ends; `width` must have room for all columns."""
    from rich.console import Console

    console = Console(
        file=StringIO(),
        width=width,
        height=25,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
    )
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]
