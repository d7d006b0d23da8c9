"""The page as a file, and which file of records each record is from."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.errors import UsageError
from pytest_kgate.report.page.html.page import page
from pytest_kgate.system import json_file

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.report.together.history.point import Point


def check(path: Path, option: str) -> None:
    """Make the folder of a page that is written later. Raises `UsageError` where it can't be, naming the option.

    A file that is there and is no page is left alone: `--output *.json` would take a file of records.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"The page can't be written to {path}: {error.strerror}.", f"Give {option} another path."
        ) from error
    if path.is_dir():
        raise UsageError(f"{path} is a directory; a page goes to a file.", f"Give {option} a file name in it.")
    if _is_another(path):
        raise UsageError(
            f"{path} is there already, and is no HTML page.", f"Give {option} another path, or delete the file."
        )


def _is_another(path: Path) -> bool:
    """Whether this is a file, and neither empty nor HTML. What can't be read is found when it is written."""
    if not path.is_file():  # nor is it a device, say
        return False
    try:
        with path.open("rb") as file:
            start = file.read(256).lstrip().lower()
    except OSError:
        return False
    return bool(start) and not start.startswith((b"<!doctype html", b"<html"))


def write(path: Path, text: str) -> None:
    """Write the page. Raises `UsageError` where that fails."""
    try:
        json_file.replace(path, text, "utf-8")
    except OSError as error:
        raise UsageError(
            f"The page can't be written to {path}: {error.strerror}.", "Check the path, its permissions and the disk."
        ) from error


def page_of_files(
    paths: Sequence[str],
    found: Sequence[Iterable[Record]],
    records: Sequence[Record],
    history: Sequence[Point] = (),
) -> str:
    """The page of `records`, which were merged from what was found in these files, with their gates over time."""
    names = _short(paths)
    homes: dict[tuple[str, int, str], str] = {}
    for name, part in zip(names, found, strict=True):
        for record in part:
            homes.setdefault(_identity(record), name)
    return page(records, [homes[_identity(record)] for record in records], history=history)


def _identity(record: Record) -> tuple[str, int, str]:
    return record["test"], record["call"], record["started"]


def _short(paths: Sequence[str]) -> list[str]:
    """The files' names; their paths where two of them have the same name."""
    names = [Path(path).name for path in paths]
    return names if len(set(names)) == len(names) else list(paths)
