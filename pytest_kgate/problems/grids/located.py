"""What stands in a file, and in which line: what the readers of TOML and YAML hand over, and what they refuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Located:
    """A value of a file."""

    value: Any
    """A number, text, True, False or None; a list of `Located`; or a dict of `Located` by name."""

    line: int
    """Where it begins, from 1; of a value that has a name, where its name stands."""


def no_syntax(language: str, said: str, text: str, line: int) -> Fault:
    """What a reader says of a text that it can't read, with the line that it means."""
    written = text.splitlines()[line - 1 : line]
    shown = f" in `{written[0].strip()}`" if written and written[0].strip() else ""
    return Fault(line, f"this is no {language}: {said}{shown}.", "Mend that line, or the one before.")


class Fault(Exception):
    """Something in a file that makes no sense."""

    def __init__(self, line: int, what: str, todo: str) -> None:
        super().__init__(what)
        self.line = line
        """From 1."""
        self.what = what
        """What is wrong there, as it reads behind "line 3: "; it ends with a full stop."""
        self.todo = todo
        """One sentence: what to do about it."""
