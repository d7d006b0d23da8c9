"""The page as a file, and which file of records each record is from."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.errors import UsageError
from pytest_kgate.report.page.html.page import page

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record


def check(path: Path, option: str) -> None:
    """Make the folder of a page that is written later. Raises `UsageError` where it can't be, naming the option."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"The page can't be written to {path}: {error.strerror}.", f"Give {option} another path."
        ) from error
    if path.is_dir():
        raise UsageError(f"{path} is a directory; a page goes to a file.", f"Give {option} a file name in it.")


def write(path: Path, text: str) -> None:
    """Write the page. Raises `UsageError` where that fails."""
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(
            f"The page can't be written to {path}: {error.strerror}.", "Check the path, its permissions and the disk."
        ) from error


def page_of_files(paths: Sequence[str], found: Sequence[Iterable[Record]], records: Sequence[Record]) -> str:
    """The page of `records`, which were merged from what was found in these files."""
    names = _short(paths)
    homes: dict[tuple[str, int, str], str] = {}
    for name, part in zip(names, found, strict=True):
        for record in part:
            homes.setdefault(_identity(record), name)
    return page(records, [homes[_identity(record)] for record in records])


def _identity(record: Record) -> tuple[str, int, str]:
    return record["test"], record["call"], record["started"]


def _short(paths: Sequence[str]) -> list[str]:
    """The files' names; their paths where two of them have the same name."""
    names = [Path(path).name for path in paths]
    return names if len(set(names)) == len(names) else list(paths)
