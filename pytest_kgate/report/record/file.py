"""The file of records on disk, complete and valid JSON after every record.

The document is `{header "records": [`, one record a line, then the tail `]}`. An append overwrites the tail with
the record and a new tail, in one write; nothing has to be done at the end of a session, so Ctrl-C, a crash or
`os._exit` lose nothing. (SIGKILL can split that one write, within microseconds; `document.load` reads such a file.)
Before it, blanks of the same length are written behind the tail, where JSON allows them: a full disk shows there,
while the document is still valid, and cutting off blanks needs no space.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import tempfile
import time
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.errors import UsageError
from pytest_kgate.report.record.document import SCHEMA
from pytest_kgate.report.record.document import VERSION
from pytest_kgate.report.record.values import now
from pytest_kgate.report.record.values import plain
from pytest_kgate.statistics.wording import counted

try:
    import fcntl
except ImportError:  # on Windows: sessions there are not told of each other
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

_TAIL = b"\n]}\n"

_SYNC_SECONDS = 1.0
"""The least time between two flushes to the disk itself: a flush costs milliseconds to tens of them."""


class RecordFile:
    """Writes records to `path` as they come. Raises `UsageError` at once where that can't work, and never later."""

    def __init__(self, path: str | os.PathLike[str], created: str | None = None) -> None:
        self.path = Path(path).absolute()
        self._head = _head(created)
        self._ledger = _Ledger(self._head, _TAIL)
        self.tampered = False
        """Whether someone else has changed the file, once it is closed."""
        self.lacks_records = False
        """Whether it does not hold all of them, once it is closed."""
        self._unsafe: list[bytes] = []
        """Records that are not known to be on the disk, oldest first."""
        self._written = 0
        """How many of them the file holds already; they wait for a flush to the disk itself."""
        self._trouble = ""
        """What the latest failed write said."""
        self._flushed_at = float("-inf")
        self._closed = False
        self.count = 0
        """Records handed in."""
        self._file = _open_document(self.path, self._head)

    def append(self, record: Record) -> None:
        """Write the record, and those that could not be written before. Raises nothing; see `close`."""
        text = json.dumps(plain(record), separators=(",", ":"), allow_nan=False)
        self._unsafe.append(text.encode("ascii"))
        self._ledger.add(self._unsafe[-1])
        self.count += 1
        self._flush(force=False)

    def close(self) -> list[str]:
        """Try once more, then save elsewhere what the file did not take. Returns what the user must be told."""
        if self._closed:
            return []
        self._closed = True
        earlier_trouble = self._trouble
        self._flush(force=True)
        try:
            if self._unsafe:
                self.lacks_records = True
                return [self._save_elsewhere()]
            changed = self._restore_content()
            if not _is_at(self._file, self.path):
                return [*changed, self._restore_path()]
            if changed:
                return changed
        finally:
            _unlock(self._file)
            with contextlib.suppress(OSError):
                self._file.close()
        if earlier_trouble:
            what = f"{self.path} could not be written for a while ({earlier_trouble})"
            return [f"{what}; all {self.count} records are in it now."]
        return []

    def _flush(self, force: bool) -> None:
        try:
            while self._written < len(self._unsafe):
                _append(self._file, self._unsafe[self._written], len(self._head))
                self._written += 1
        except (OSError, ValueError) as error:  # ValueError: the file was closed
            self._trouble = getattr(error, "strerror", None) or str(error)
        if not force and time.monotonic() - self._flushed_at < _SYNC_SECONDS:
            return
        self._flushed_at = time.monotonic()
        try:
            os.fsync(self._file.fileno())
            del self._unsafe[: self._written]
            self._written = 0
        except (OSError, ValueError) as error:
            self._trouble = getattr(error, "strerror", None) or str(error)

    def _save_elsewhere(self) -> str:
        records = f"{len(self._unsafe)} of {self.count} records"
        what = f"{self.path} could not be written ({self._trouble}); {records}"
        try:
            handle, name = tempfile.mkstemp(prefix="kgate-records-", suffix=".json")
        except OSError as error:
            return f"{what} are lost, for the temporary directory failed too ({error.strerror})."
        try:
            with open(handle, "wb") as file:
                file.write(self._head + b",".join(b"\n" + text for text in self._unsafe) + _TAIL)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(name)
            return f"{what} are lost, for the temporary directory failed too ({error.strerror})."
        return f"{what} are in {name} instead; `kgate report` takes both files."

    def _restore_content(self) -> list[str]:
        self._file.seek(0)
        complaint = self._ledger.complaint(self._file.readall())
        if complaint is None:
            return []
        self.tampered = True
        _write(self._file, 0, self._ledger.document)
        self._file.truncate(len(self._ledger.document))
        return [f"{self.path} was changed while the tests ran ({complaint}); it was written again, as it was judged."]

    def _restore_path(self) -> str:
        self._file.seek(0)
        content = self._file.readall()
        what = f"{self.path} was removed or replaced while the tests ran"
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "xb") as file:
                file.write(content)
            return f"{what}; it was written again, with all {self.count} records."
        try:
            handle, name = tempfile.mkstemp(prefix="kgate-records-", suffix=".json")
            with open(handle, "wb") as file:
                file.write(content)
        except OSError as error:
            return f"{what}, and its {self.count} records could not be saved elsewhere ({error.strerror})."
        return f"{what}; all {self.count} records are in {name} instead."


class _Ledger:
    """What was written to the file, to tell at the end whether it still says so; some kB a record."""

    def __init__(self, head: bytes, tail: bytes) -> None:
        self._head = head
        self._tail = tail
        self._lines: list[bytes] = []

    def add(self, line: bytes) -> None:
        """Take in a record as it is handed to the file."""
        self._lines.append(line)

    @property
    def document(self) -> bytes:
        """The whole file, as it should be."""
        return self._head + b",".join(b"\n" + line for line in self._lines) + self._tail

    def complaint(self, content: bytes) -> str | None:
        """What of the file is not as it was written; None where all of it is."""
        if content == self.document:
            return None
        if not (content.startswith(self._head) and content.endswith(self._tail)):
            return "its first or last line was changed"
        body = content[len(self._head) : len(content) - len(self._tail)]
        lines = [line.removesuffix(b",") for line in body.split(b"\n") if line]
        for number, (line, wanted) in enumerate(zip(lines, self._lines, strict=False), start=1):
            if line != wanted:
                return f"record {number} of {len(self._lines)} was changed"
        return f"it holds {counted(len(lines), 'record')} instead of {len(self._lines)}"


def _head(created: str | None) -> bytes:
    start = {"schema": SCHEMA, "version": VERSION, "created": created or now()}
    return json.dumps(start).encode("ascii")[:-1] + b', "records": ['


def _append(file: FileIO, text: bytes, head_length: int) -> None:
    """Turn a valid document into the valid document with one more record, or leave it as it was and raise."""
    end = os.fstat(file.fileno()).st_size
    old_tail = end - len(_TAIL)
    file.seek(max(old_tail, 0))
    if file.read() != _TAIL:
        raise OSError(errno.EIO, "another program changed the file")
    addition = (b"" if old_tail == head_length else b",") + b"\n" + text + _TAIL
    try:
        _write(file, end, b" " * (len(addition) - len(_TAIL)))
        _write(file, old_tail, addition)
    except BaseException:  # Ctrl-C too
        file.truncate(end)
        _write(file, old_tail, _TAIL)
        raise


def _write(file: FileIO, offset: int, data: bytes) -> None:
    file.seek(offset)
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]  # a nearly full disk takes a part, then raises


def _open_document(path: Path, head: bytes) -> FileIO:
    option = "Give --kgate-json another path."
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise UsageError(f"{path} is a directory; records go to a file.", "Give --kgate-json a file name in it.")
        file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+")
    except OSError as error:
        raise UsageError(f"The records can't be written to {path}: {error.strerror}.", option) from error
    try:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UsageError(f"{path} is not a regular file; records are not written to devices.", option)
        _lock(file, path)
        begin = file.read(200)
        if begin.strip() and SCHEMA.encode() not in begin:
            raise UsageError(
                f"{path} exists and holds something else than records; it was left as it is.",
                "Give --kgate-json another path, or remove that file.",
            )
        file.truncate(0)
        _write(file, 0, head + _TAIL)
    except OSError as error:
        file.close()
        raise UsageError(f"The records can't be written to {path}: {error.strerror}.", option) from error
    except UsageError:
        file.close()
        raise
    return file


def _lock(file: FileIO, path: Path) -> None:
    """Until the file is closed, no other session may begin it anew. Raises `UsageError` where another writes it."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(
            f"Another session is writing its records to {path}.",
            "Give --kgate-json another path, or wait for its end; `kgate report` takes several files.",
        ) from None
    except OSError:
        pass  # a file system without locks


def _unlock(file: FileIO) -> None:
    """Not left to `close`: a child that a test has forked may have the file open, too."""
    if fcntl is not None:
        with contextlib.suppress(OSError, ValueError):
            fcntl.flock(file, fcntl.LOCK_UN)


def _is_at(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False
