"""What was written to the file of records, so that the end of a session can tell whether it still says so."""

from __future__ import annotations


class Ledger:
    """The lines that the file must hold; some kB a record."""

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
        return f"it holds {len(lines)} records instead of {len(self._lines)}"
