"""The content of a file of records: how it is made, read, and merged with that of other files."""

from __future__ import annotations

import warnings
from codecs import BOM_UTF8
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.trees.foreign import said_by
from pytest_kgate.report.record.damage import damage
from pytest_kgate.report.record.values import now
from pytest_kgate.report.record.values import parsed
from pytest_kgate.report.record.values import plain
from pytest_kgate.system import json_file

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.report.record.record import RecordsDocument
    from pytest_kgate.report.record.record import Schema
    from pytest_kgate.report.record.record import Version

SCHEMA: Schema = "pytest-kgate/records"
VERSION: Version = 1


def document(records: Iterable[Record], created: str | None = None) -> RecordsDocument:
    """The content of a file of records."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "created": created or now(),
        "records": plain(list(records)),
    }


def load(path: str | PathLike[str]) -> list[Record]:
    """The records of a file as `read` has them, with a warning where it is cut off."""
    records, cut_off = read(path)
    if cut_off:
        warnings.warn(cut_off, stacklevel=2)
    return records


def read(path: str | PathLike[str]) -> tuple[list[Record], str | None]:
    """The records of a file, and a clause where it ends in the middle of one: then they are those before it.

    Raises `UsageError` for a file that is missing or no file of records, `KgateError` for one that is damaged or was
    written by a newer version.
    """
    path = Path(path)
    try:
        return parse(path.read_bytes(), path)
    except FileNotFoundError as error:
        raise UsageError(
            f"There is no file {path}.", "`pytest -m perf --kgate-json PATH` writes the records of a session."
        ) from error
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}.", "Check the path and its permissions.") from error


def parse(content: bytes, path: Path) -> tuple[list[Record], str | None]:
    """The same of a file's content, which was read from this path."""
    text, content = "", content.removeprefix(BOM_UTF8)  # with which some editors and shells begin a file
    todo = "`pytest -m perf --kgate-json PATH` writes records."
    if (other := json_file.other_kind(path, content, SCHEMA, what="records", todo=todo)) is not None:
        raise other
    try:
        text = content.decode()
        return _checked(parsed(text), path), None
    except (ValueError, RecursionError) as error:
        if not content.strip():
            raise KgateError(
                f"{path} is empty.", "Measure again: the session that began it was killed, or its disk was full."
            ) from error
        torn = _torn(text)
        if torn is not None:
            count = len(torn["records"])
            return _checked(torn, path), f"{path} ends in the middle of a record; {count} whole ones were read"
        not_json = f"{path} is not JSON, or is cut off: {said_by(error)}."
        if SCHEMA.encode() not in content:
            raise UsageError(not_json, "Give a file that `pytest --kgate-json PATH` wrote.") from error
        raise KgateError(
            not_json,
            "Take it anew from where it was written; a file of records holds one record on each line but the first and "
            "last, so that a damaged line can be deleted by hand.",
        ) from error


def _torn(text: str) -> dict[str, Any] | None:
    """What a session that was killed while it wrote has left: whole lines, then a part of one."""
    head, *lines = text.rstrip().split("\n")
    try:
        content: dict[str, Any] = parsed(f"{head}]}}")
        content["records"] = [parsed(line.removesuffix(",")) for line in lines[:-1]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return content


def _checked(content: Any, path: Path) -> list[Record]:
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UsageError(
            f"{path} holds no records of pytest-kgate: its schema is not {SCHEMA!r}.",
            "Give a file that `pytest --kgate-json PATH` wrote.",
        )
    version = content.get("version")
    if version != VERSION or type(version) is not int:
        newer = isinstance(version, int) and version > VERSION
        raise KgateError(
            f"{path} {f'has version {version!r}' if version is not None else 'names no version'} of the record layout; "
            f"this pytest-kgate reads version {VERSION}.",
            "Upgrade pytest-kgate." if newer else "Measure again, or take the file anew from where it was written.",
        )
    records = content.get("records")
    if not isinstance(records, list):
        raise KgateError(f"{path} is damaged: it has no list of records.", "Take it anew from where it was written.")
    for number, record in enumerate(records, start=1):
        found = damage(record)
        if found is not None:
            raise KgateError(
                f"{path} is damaged in its record {number}: {found}.", "Take it anew from where it was written."
            )
    return merge([records])


def merge(parts: Iterable[Iterable[Record]]) -> list[Record]:
    """The records of several files, in the order given; a record that is in two files counts once.

    Two that call themselves one and say different things are both there, for what reads them to see.
    """
    seen: dict[tuple[Any, ...], list[Record]] = {}
    found = []
    for part in parts:
        for record in part:
            alike = seen.setdefault((record["test"], record.get("call"), record.get("started")), [])
            if record not in alike:
                alike.append(record)
                found.append(record)
    return found
