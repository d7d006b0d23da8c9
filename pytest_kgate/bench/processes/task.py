"""The task of one process of a gate, which its parent writes to a file. Imports nothing heavy."""

from __future__ import annotations

import json
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.report.record.values import plain
from pytest_kgate.system import json_file

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record


@dataclass(frozen=True)
class Task:
    """One `kbench` call of one test, which a process of a gate measures and its parent judges."""

    test: str
    """Its node id."""
    call: int
    """Which `kbench` call of the test is meant; 0 for the first."""
    process: int
    """From 1."""
    of: int
    backend: str | None
    """Which of the problem's references the parent has chosen; None where there is just one."""
    earlier: tuple[Record, ...]
    """The records of the test's calls before, which are not measured again."""
    answer: str = ""
    """Path of the file for the answer."""
    parent_pipe: int = -1
    """A file descriptor that ends when the parent does."""

    def save(self, path: Path) -> None:
        """Write the task to this file."""
        path.write_text(json.dumps(plain(asdict(self))), encoding="utf-8")

    @classmethod
    def load(cls, path: str) -> Task:
        """Read the task from this file."""
        fields: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        return cls(**{**fields, "earlier": tuple(fields["earlier"])})

    def deliver(self, answer: dict[str, Any]) -> None:
        """Write the answer, a dict with `record` or `error`; the parent finds the whole file or none."""
        json_file.replace(Path(self.answer), json.dumps(plain(answer), allow_nan=False))
