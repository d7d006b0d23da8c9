"""The file of a search's events: JSON lines that are only ever appended, by one process at a time.

A line is on the disk before the search goes on. Whenever the process is killed, the file holds whole lines and at most
one torn one at its end, which the next writer cuts off.
"""

from __future__ import annotations

import json
import os
from codecs import BOM_UTF8
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.report.record.values import parsed
from pytest_kgate.search.journal.events import SCHEMA
from pytest_kgate.search.journal.events import VERSION
from pytest_kgate.system import json_file

if TYPE_CHECKING:
    from filelock import FileLock

    from pytest_kgate.search.journal.events import Event


_BEGIN = b'{"event": "search"'
"""Of a journal, or of what a killed search has left of its first line."""

_WRITTEN = "Name a file that `kgate search TEST` has written, such as search.jsonl."
_ANOTHER = "Name another file: a journal is only ever appended to."


class EventFile:
    """A journal's file, held against other writers from `open` until `close`."""

    def __init__(self, path: Path, lock: FileLock, descriptor: int, events: Sequence[Event]) -> None:
        self.path = path
        self.events = events
        """Those that it held as it was opened."""
        self._lock = lock
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: Path) -> EventFile:
        """Lock the file, make it where there is none, read it and cut a torn last line off.

        Raises UsageError where another process writes it, where it is no journal, or where it can't be written.
        """
        from filelock import FileLock
        from filelock import Timeout

        lock = FileLock(f"{path}.lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout as error:
            raise UsageError(
                f"Another search is writing {path}.", "Wait for it, or write this one's journal to another file."
            ) from error
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            lock.release()
            raise _unwritable(path, error) from error
        try:
            events, whole = _parsed(path, path.read_bytes(), _ANOTHER)
            os.ftruncate(descriptor, whole)
            os.fsync(descriptor)
            _sync_folder(path.parent)
        except BaseException:
            os.close(descriptor)
            lock.release()
            raise
        return cls(path, lock, descriptor, events)

    def append(self, event: Event) -> None:
        """Write one line, and return once the disk has it."""
        line = json.dumps(event, allow_nan=False).encode() + b"\n"
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
            os.fsync(self._descriptor)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def close(self) -> None:
        """Let other processes write."""
        os.close(self._descriptor)
        self._lock.release()


def read(path: Path) -> list[Event]:
    """The whole events of a journal, which another process may be writing; UsageError where it is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}.", _WRITTEN) from error
    events, _ = _parsed(path, content, _WRITTEN)
    if not events:
        raise UsageError(f"{path} holds no search yet.", _WRITTEN)
    return events


def _parsed(path: Path, content: bytes, todo: str) -> tuple[list[Event], int]:
    """The events, and how many bytes they take: what follows is a line that was never finished.

    `todo` is for who has named a file that is no journal.
    """
    if (other := json_file.other_kind(path, content, SCHEMA, what="search", todo=todo)) is not None:
        raise other
    if not _BEGIN.startswith(content.removeprefix(BOM_UTF8)[: len(_BEGIN)]):
        raise UsageError(f"{path} holds no search.", todo)
    events: list[Event] = []
    whole = 0
    lines = content.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("no end of line")
            event = parsed(line.decode("utf-8-sig"))
            if not isinstance(event, dict) or not isinstance(event.get("event"), str):
                raise ValueError("no event")
        except (ValueError, RecursionError) as error:
            if number < len(lines):
                raise UsageError(
                    f"Line {number} of {path} is no event of a search.",
                    "Nothing but a search may write there: take the line out, or name another file.",
                ) from error
            break
        events.append(event)
        whole += len(line)
    if events:
        _check_version(path, events[0])
    return events, whole


def _check_version(path: Path, first: dict[str, Any] | Event) -> None:
    if first.get("schema") != SCHEMA or first.get("event") != "search":
        raise UsageError(f"{path} holds no search.", "Name a file that `kgate search` wrote.")
    if first.get("version") != VERSION:
        raise UsageError(
            f"{path} is a search of version {first.get('version')}; this pytest-kgate reads version {VERSION}.",
            "Go on with the version that wrote it, or start a new search in another file.",
        )


def _sync_folder(folder: Path) -> None:
    """A new file is there after a power cut only once its folder is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems can't
        pass
    finally:
        os.close(descriptor)


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path} can't be written: {error.strerror}.", "Check the path and its permissions.")
