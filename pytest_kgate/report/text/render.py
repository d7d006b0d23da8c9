"""A rich table as lines of text, the same in a terminal, a log and a test."""

from __future__ import annotations

import shutil
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def columns(wanted: int | None) -> int:
    """How wide to write: as the user says, or as the terminal is, or 120 where there is none."""
    return wanted or shutil.get_terminal_size(fallback=(120, 24)).columns


def table_lines(table: Table, width: int, color: bool) -> list[str]:
    """One string a line, without blanks at its end; `width` must have room for all columns."""
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
