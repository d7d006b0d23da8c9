"""Histories on disk: appended to by any number of sessions at once, and read whatever became of a writer.

A line is one gate. A file takes lines under a lock, each in one write behind all others; a line that a killed writer
left without its end is closed by the next one, so that it is the only one that is lost. In a directory each session
has a file of its own, which nobody else writes to.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import secrets
from codecs import BOM_UTF8
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_kgate.errors import UsageError
from pytest_kgate.report import format as text
from pytest_kgate.report.together.history.point import SCHEMA
from pytest_kgate.report.together.history.point import NewerVersion
from pytest_kgate.report.together.history.point import Point
from pytest_kgate.report.together.history.point import point_of
from pytest_kgate.system import json_file

try:
    import fcntl
except ImportError:  # on Windows: sessions there are not told of each other
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".jsonl"

_AHEAD_SECONDS = 300.0
"""By which another machine's clock may be ahead of ours before that is said."""


_LATEST = datetime.datetime(9999, 12, 30, tzinfo=datetime.timezone.utc).timestamp()


@dataclass(frozen=True)
class History:
    """The points that were read from a history, and what a reader must know of them."""

    points: Sequence[Point]
    """In the order of their times; each once."""
    said: Sequence[str]
    """What a reader must know, a sentence each: lines that were lost, left out, or come from the future."""


class Writer:
    """Appends a session's gates to a history. Raises `UsageError` at once where that can't work, and never later."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._place = _own_file(path) if is_directory(path) else path
        self._waiting: list[str] = []
        self.trouble = ""
        """What the latest write that failed has said."""
        try:
            self._place.parent.mkdir(parents=True, exist_ok=True)
            if not is_directory(path):
                with open(path, "ab"):
                    pass
                if not path.is_file():
                    raise UsageError(
                        f"{path} is not a regular file; a history is not written to devices.",
                        "Name a file or a directory of yours.",
                    )
                if not is_history(path.read_bytes()):
                    raise UsageError(
                        f"{path} exists and holds something else than a history; it was left as it is.",
                        "Name another file, or a directory.",
                    )
        except OSError as error:
            raise UsageError(
                f"{path} can't be written: {error.strerror}.",
                "Name a file or a directory of yours.",
            ) from error

    def add(self, points: Iterable[Point]) -> None:
        """Append the points, and those that could not be written before."""
        self._waiting += [point.line() for point in points]
        if not self._waiting:
            return
        try:
            append(self._place, "".join(self._waiting).encode())
            self._waiting.clear()
        except OSError as error:
            self.trouble = error.strerror or str(error)

    def close(self) -> str | None:
        """Try once more; a sentence where gates are missing then."""
        self.add(())
        if not self._waiting:
            return None
        return (
            f"{self.path} could not be written ({self.trouble}): it lacks {text.counted(len(self._waiting), 'gate')}."
        )


def is_history(content: bytes) -> bool:
    """Whether this is nothing, has a line of a history, or is what a killed writer left of its first one."""
    return SCHEMA.encode() in content or f'{{"schema":"{SCHEMA}"'.encode().startswith(content.strip())


def append(path: Path, lines: bytes) -> None:
    """Add whole lines behind what a file has, whoever else does so."""
    with open(path, "ab+") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            lines = lines if file.read(1) == b"\n" else b"\n" + lines
        file.write(lines)
        file.flush()
        with contextlib.suppress(OSError):  # pipes and some network drives have none
            os.fsync(file.fileno())


def is_directory(path: Path) -> bool:
    """Whether a history of this name is a directory: it is one already, or is not there and has no ending."""
    return path.is_dir() or (not path.exists() and path.suffix == "")


def _own_file(path: Path) -> Path:
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return path / f"{now}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"


def read(path: Path) -> History:
    """A file, or all files of a directory. Raises `UsageError` where there is none that can be read, or it is none."""
    files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
    contents, others = {}, []
    for file in files:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise UsageError(
                f"{file} can't be read: {error.strerror}.", "`pytest -m perf --kgate-history PATH` writes a history."
            ) from error
        if is_history(content):
            contents[str(file)] = content
        elif path.is_dir():
            others.append(f"{file} holds something else than a history, and was left out.")
        else:
            todo = "`pytest -m perf --kgate-history PATH` writes a history."
            other = json_file.other_kind(file, content, SCHEMA, what="history", todo=todo)
            raise other or UsageError(f"{file} holds something else than a history.", todo)
    found = history_of(contents)
    return History(found.points, [*others, *found.said])


def history_of(contents: dict[str, bytes]) -> History:
    """Read the history in these files' contents, by the files' names."""
    found: dict[tuple[str, int | None], Point] = {}
    said, newer = [], 0
    for name, content in contents.items():
        lines, damaged = content.removeprefix(BOM_UTF8).split(b"\n"), []
        for place, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                point = point_of(line)
                found.setdefault(point.identity, point)
            except NewerVersion:
                newer += 1
            except (ValueError, TypeError, RecursionError):
                damaged.append(place)
        if damaged and damaged[-1] == len(lines):
            damaged.pop()
            said.append(f"{name} ends in the middle of a line: the gate that was being written is lost.")
        if damaged:
            more = f" and {text.counted(len(damaged) - 1, 'line')} behind it" if len(damaged) > 1 else ""
            are = "were" if more else "was"
            said.append(f"Line {damaged[0]}{more} of {name} {'are' if more else 'is'} damaged, and {are} left out.")
    if newer:
        count = text.counted(newer, "line")
        said.append(f"{count} of a newer version of pytest-kgate {'was' if newer == 1 else 'were'} left out: upgrade.")
    points = sorted(found.values(), key=lambda point: time_of(point.started))
    ahead = sum(
        time_of(one.started) > datetime.datetime.now(datetime.timezone.utc).timestamp() + _AHEAD_SECONDS
        for one in points
    )
    if ahead:
        said.append(f"{text.counted(ahead, 'gate')} by a clock that is ahead of this one: their order may be wrong.")
    return History(points, said)


def time_of(started: str) -> float:
    """Seconds since 1970; a time without a zone is taken as UTC, and what is no time as the beginning.

    What is before that, or in the last days of the calendar, which some zones don't have, is moved to where it ends.
    """
    try:
        found = datetime.datetime.fromisoformat(started.replace("Z", "+00:00"))
    except ValueError:
        return 0.0
    seconds = (found if found.tzinfo else found.replace(tzinfo=datetime.timezone.utc)).timestamp()
    return min(max(seconds, 0.0), _LATEST)
